"""ModelConfig: what a model's directory says about how it should be served.

Frozen data in the words of Triton's schema. None means "not said": completion.py fills it in from
the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastserve.config.pbtxt import Source
from fastserve.config.units import COUNT_MAX, parse_integer

DEFAULT_MODEL_FILENAME = "model.onnx"

# What one model may ask for: more is a slip of the keyboard, and would exhaust the machine.
BATCH_ROWS_MAX = 65536
INSTANCES_MAX = 1024
THREADS_MAX = 1024
QUEUE_DELAY_NS_MAX = 3600 * 10**9
# What runs before a version serves; TensorFlow Serving takes as many records. A model has a pool of
# 1 GiB for the tensors of its batches: half of that is left to the outputs.
WARM_UP_RUNS_MAX = 1000
WARM_UP_BYTES_MAX = 512 << 20

# Parameters that mean something to a backend's engine, and those that mean something to all; any
# other is named in a warning.
ENGINE_PARAMETERS = {
    "onnxruntime": (
        "intra_op_thread_count",
        "inter_op_thread_count",
        "session.intra_op.allow_spinning",
    ),
    "identity": ("delay_us", "repeat"),
}
PARAMETERS = {
    backend: ("warm_up_sizes", *of_engine) for backend, of_engine in ENGINE_PARAMETERS.items()
}


@dataclass(frozen=True)
class Tensor:
    """A tensor as a model has it, or as it is served; -1 where any length fits."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    dim_names: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Signature:
    platform: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class TensorConfig:
    """One `input` or `output` of a config; `where` is its place in the file."""

    name: str
    where: str
    datatype: str = ""
    dims: tuple[int, ...] | None = None
    optional: bool = False
    label_filename: str = ""  # Of an output, in the model's directory.


@dataclass(frozen=True)
class VersionPolicy:
    """Which versions are served: the `latest` highest, the `specific` ones, or all if neither."""

    latest: int | None = 1
    specific: tuple[int, ...] | None = None

    def choose(self, present: tuple[int, ...]) -> tuple[int, ...]:
        """Those of `present` to serve, lowest first."""
        if self.specific is not None:
            return tuple(sorted(set(self.specific) & set(present)))
        ordered = tuple(sorted(present))
        return ordered if self.latest is None else ordered[-self.latest :]


@dataclass(frozen=True)
class DynamicBatching:
    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_ns: int = 0


@dataclass(frozen=True)
class WarmUpInput:
    """One input of a sample; `where` is its place in the file.

    `content` is "zeros", "random" or "file"; `file` then lies in the model's folder warmup/ and
    holds one row. `dims` leave out the batch dimension, if the model has one.
    """

    name: str
    where: str
    datatype: str
    dims: tuple[int, ...]
    content: str
    file: str = ""


@dataclass(frozen=True)
class WarmUpSample:
    """One `model_warmup` of a config: a request that the model must be able to run."""

    name: str
    where: str
    rows: int
    count: int
    inputs: tuple[WarmUpInput, ...]


@dataclass(frozen=True)
class ModelConfig:
    """A config as it was written.

    `raw` is the message as JSON in Triton's spelling, so that /config also shows what has no
    effect here. `warnings` name such fields.
    """

    name: str = ""
    backend: str = ""
    default_model_filename: str = DEFAULT_MODEL_FILENAME
    max_batch_size: int | None = None
    inputs: tuple[TensorConfig, ...] = ()
    outputs: tuple[TensorConfig, ...] = ()
    version_policy: VersionPolicy = VersionPolicy()
    instance_count: int | None = None
    dynamic_batching: DynamicBatching | None = None
    queue_depth: int | None = None
    optimization: str = "all"
    providers: tuple[tuple[str, Mapping[str, str]], ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    warm_up: tuple[WarmUpSample, ...] = ()
    source: Source = field(default_factory=Source)
    raw: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def batching_is_automatic(self) -> bool:
        """Nothing is said about shapes or batches: the model itself decides, as without a file."""
        return self.max_batch_size is None and not self.inputs and not self.outputs


def choice_parameter(config: ModelConfig, key: str, default: str, choices: Sequence[str]) -> str:
    """A parameter that is one of a few words. Errors: INVALID_ARGUMENT with file, line and key."""
    text = config.parameters.get(key, default)
    if text not in choices:
        expected = f"expected {' or '.join(choices)}, found '{text}'"
        raise config.source.wrong(f'parameters["{key}"]', expected)
    return text


def integer_parameter(
    config: ModelConfig, key: str, default: int, minimum: int = 0, maximum: int = COUNT_MAX
) -> int:
    """A parameter that counts something. Errors: INVALID_ARGUMENT with file, line and key."""
    text = config.parameters.get(key)
    if text is None:
        return default
    try:
        return parse_integer(text, minimum, maximum)
    except ValueError as error:
        raise config.source.wrong(f'parameters["{key}"]', str(error)) from None


def type_name(datatype: str) -> str:
    """FP32 -> TYPE_FP32: the spelling of configs."""
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


def batch_dimension_hint(expected: Sequence[int], found: Sequence[int], batched: bool) -> str:
    """Why dims do not fit, where a batch dimension too many or too few may be the reason."""
    if batched and len(found) == len(expected) + 1:
        return "; with max_batch_size above 0, dims leave out the batch dimension"
    if not batched and len(found) + 1 == len(expected):
        return "; with max_batch_size 0, dims are the whole shape"
    return ""
