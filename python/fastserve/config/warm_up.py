"""What runs before a version serves: `model_warmup` of config.pbtxt, in Triton's words.

    model_warmup {
      name: "one image"
      batch_size: 4                       # The inputs below, four times.
      inputs { key: "image" value { data_type: TYPE_FP32 dims: [ 8, 8 ] input_data_file: "one" } }
    }

Read in two steps: what the config alone tells is checked by read_samples(), what the model must
agree with by check_samples(). The files are the loader's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from fastserve.config.model_config import (
    WARM_UP_BYTES_MAX,
    WARM_UP_RUNS_MAX,
    ModelConfig,
    Tensor,
    WarmUpInput,
    WarmUpSample,
    batch_dimension_hint,
    type_name,
)
from fastserve.config.pbtxt import Source
from fastserve.config.schema import wire_datatype
from fastserve.config.spelling import did_you_mean

SIZES = ("powers", "all", "none")
FOLDER = "warmup"
_CONTENTS = {"zero_data": "zeros", "random_data": "random", "input_data_file": "file"}
_ELEMENT_BYTES = {
    **dict.fromkeys(("BOOL", "UINT8", "INT8"), 1),
    **dict.fromkeys(("UINT16", "INT16", "FP16", "BF16"), 2),
    **dict.fromkeys(("UINT32", "INT32", "FP32", "BYTES"), 4),  # BYTES: its length, at least.
    **dict.fromkeys(("UINT64", "INT64", "FP64"), 8),
}


def row_bytes(item: WarmUpInput) -> int:
    """Bytes of one row; of BYTES the least it can have."""
    elements = 1
    for dim in item.dims:
        elements *= dim
    return elements * _ELEMENT_BYTES[item.datatype]


def read_samples(message: Any, source: Source) -> tuple[WarmUpSample, ...]:
    """Errors: INVALID_ARGUMENT naming file, line and field."""
    samples = []
    runs = 0
    for index, item in enumerate(message.model_warmup):
        where = f"model_warmup[{index}]"
        if item.batch_size < 1:
            raise source.wrong(f"{where}.batch_size", "expected at least 1 row, found 0")
        # 0 is Triton's default, and means once.
        count = item.count or 1
        runs += count
        if runs > WARM_UP_RUNS_MAX:
            raise source.wrong(
                f"{where}.count",
                f"expected at most {WARM_UP_RUNS_MAX} runs before a version serves, found {runs}",
            )
        inputs = tuple(
            _input(name, item.inputs[name], f'{where}.inputs["{name}"]', source)
            for name in sorted(item.inputs)
        )
        name = item.name or str(index)
        samples.append(WarmUpSample(name, where, item.batch_size, count, inputs))
    return tuple(samples)


def _input(name: str, item: Any, where: str, source: Source) -> WarmUpInput:
    datatype = wire_datatype(item)
    if not datatype:
        raise source.wrong(f"{where}.data_type", "expected the input's type, such as TYPE_FP32")
    dims = tuple(item.dims)
    if any(dim < 0 for dim in dims):
        raise source.wrong(f"{where}.dims", f"expected the lengths to run with, found {list(dims)}")
    said = item.WhichOneof("input_data_type")
    if said is None:
        raise source.wrong(where, "expected zero_data, random_data or input_data_file")
    file = item.input_data_file if said == "input_data_file" else ""
    if said == "input_data_file":
        _check_path(file, f"{where}.input_data_file", source)
    return WarmUpInput(name, where, datatype, dims, _CONTENTS[said], file)


def _check_path(text: str, where: str, source: Source) -> None:
    path = PurePosixPath(text)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in text:
        raise source.wrong(
            where, f"expected the path of a file inside {FOLDER}/ of the model, found '{text}'"
        )


def check_samples(config: ModelConfig, inputs: tuple[Tensor, ...], max_batch_size: int) -> None:
    """Errors: INVALID_ARGUMENT for a sample that what is served does not take."""
    by_name = {tensor.name: tensor for tensor in inputs}
    for sample in config.warm_up:
        if sample.rows > max(max_batch_size, 1):
            why = "the model has no batch dimension" if max_batch_size == 0 else "the largest batch"
            raise config.source.wrong(
                f"{sample.where}.batch_size",
                f"expected at most {max(max_batch_size, 1)}, {why}, found {sample.rows}",
            )
        given = {item.name for item in sample.inputs}
        for tensor in inputs:
            if tensor.name not in given and not tensor.optional:
                raise config.source.wrong(
                    f"{sample.where}.inputs", f"input '{tensor.name}' is missing"
                )
        total_bytes = 0
        for item in sample.inputs:
            _check_input(config, item, by_name, batched=max_batch_size > 0)
            total_bytes += row_bytes(item) * sample.rows
            if total_bytes > WARM_UP_BYTES_MAX:
                raise config.source.wrong(
                    f"{item.where}.dims",
                    f"expected at most {WARM_UP_BYTES_MAX} bytes in a sample, found {total_bytes}",
                )


def _check_input(
    config: ModelConfig, item: WarmUpInput, by_name: Mapping[str, Tensor], batched: bool
) -> None:
    tensor = by_name.get(item.name)
    if tensor is None:
        guess = did_you_mean(item.name, by_name)
        has = ", ".join(f"'{name}'" for name in by_name)
        raise config.source.wrong(
            item.where, f"the model has no input '{item.name}'{guess or f'; it has {has}'}"
        )
    if item.datatype != tensor.datatype:
        raise config.source.wrong(
            f"{item.where}.data_type",
            f"expected {type_name(tensor.datatype)} as in the model,"
            f" found {type_name(item.datatype)}",
        )
    served = tensor.shape[1:] if batched else tensor.shape
    if len(served) != len(item.dims) or any(
        want not in (-1, found) for want, found in zip(served, item.dims, strict=True)
    ):
        raise config.source.wrong(
            f"{item.where}.dims",
            f"expected {list(served)} as in the model, found {list(item.dims)}"
            f"{batch_dimension_hint(served, item.dims, batched)}",
        )
