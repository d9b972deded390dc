"""From a config.pbtxt to a ModelConfig: values are checked here, each with file and line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fastserve.config import pbtxt, schema, support
from fastserve.config.model_config import (
    BATCH_ROWS_MAX,
    DEFAULT_MODEL_FILENAME,
    INSTANCES_MAX,
    PARAMETERS,
    QUEUE_DELAY_NS_MAX,
    DynamicBatching,
    ModelConfig,
    TensorConfig,
    VersionPolicy,
)
from fastserve.config.pbtxt import Source
from fastserve.config.spelling import did_you_mean
from fastserve.config.units import COUNT_MAX, format_duration_ns
from fastserve.config.warm_up import read_samples
from fastserve.errors import one_line

BACKENDS = ("onnxruntime", "identity")
_PLATFORMS = {"onnxruntime_onnx": "onnxruntime"}
# Triton's levels: -1 basic, 1 basic and extended, 2 none; all of them when nothing is said.
_OPTIMIZATION = {0: "all", -1: "basic", 1: "extended", 2: "none"}
# Names of execution accelerators -> ONNX Runtime's names of execution providers.
_GPU_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_CPU_PROVIDERS = {
    "openvino": "OpenVINOExecutionProvider",
    "dnnl": "DnnlExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}


def read_config(path: Path, shown_as: str) -> ModelConfig:
    """The config of one model. Errors: INVALID_ARGUMENT naming file, line and field."""
    message, source = pbtxt.read(path, shown_as)
    return from_message(message, source)


def parse_config(text: str, shown_as: str = "config.pbtxt") -> ModelConfig:
    message, source = pbtxt.parse(text, shown_as)
    return from_message(message, source)


def from_message(message: Any, source: Source) -> ModelConfig:
    warnings = support.judge(message, source)
    if not 0 <= message.max_batch_size <= BATCH_ROWS_MAX:
        raise source.wrong(
            "max_batch_size",
            f"expected 0 to {BATCH_ROWS_MAX} rows, found {message.max_batch_size}",
        )
    backend = _backend(message, source)
    parameters = {key: value.string_value for key, value in message.parameters.items()}
    warnings += _unknown_parameters(backend, parameters, source)
    batching, queue_depth = _batching(message, source)
    says_batch_size = source.says("max_batch_size")
    return ModelConfig(
        name=message.name,
        backend=backend,
        default_model_filename=_filename(message, source),
        max_batch_size=message.max_batch_size if says_batch_size else None,
        inputs=_tensors(message.input, "input", source),
        outputs=_tensors(message.output, "output", source),
        version_policy=_version_policy(message, source),
        instance_count=_instance_count(message, source),
        dynamic_batching=batching,
        queue_depth=queue_depth,
        optimization=_optimization(message, source),
        providers=_providers(message, source),
        parameters=parameters,
        warm_up=read_samples(message, source),
        source=source,
        raw=schema.to_plain(message),
        warnings=tuple(map(one_line, warnings)),
    )


def _backend(message: Any, source: Source) -> str:
    if message.backend and message.backend not in BACKENDS:
        guess = did_you_mean(message.backend, BACKENDS)
        raise source.wrong(
            "backend",
            f"there is no backend '{message.backend}'{guess or f'; expected {_list(BACKENDS)}'}",
        )
    if message.platform and message.platform not in _PLATFORMS:
        guess = did_you_mean(message.platform, _PLATFORMS)
        raise source.wrong(
            "platform",
            f"'{message.platform}' is not available{guess or f'; expected {_list(_PLATFORMS)}'}",
        )
    by_platform = _PLATFORMS.get(message.platform, "")
    if message.backend and by_platform and message.backend != by_platform:
        raise source.wrong(
            "platform", f"'{message.platform}' contradicts backend '{message.backend}'"
        )
    return message.backend or by_platform or "onnxruntime"


def _list(names: Iterable[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _filename(message: Any, source: Source) -> str:
    name: str = message.default_model_filename or DEFAULT_MODEL_FILENAME
    if name in (".", "..") or "/" in name or "\0" in name:
        raise source.wrong(
            "default_model_filename",
            f"expected a file name inside the version directory, found '{name}'",
        )
    return name


def _tensors(items: Any, kind: str, source: Source) -> tuple[TensorConfig, ...]:
    tensors: dict[str, TensorConfig] = {}
    for index, item in enumerate(items):
        where = f"{kind}[{index}]"
        if not item.name:
            raise source.wrong(where, "expected a name")
        if item.name in tensors:
            raise source.wrong(f"{where}.name", f"'{item.name}' is given twice")
        dims = tuple(item.dims)
        for dim in dims:
            if dim < -1 or dim == 0:
                raise source.wrong(
                    f"{where}.dims",
                    f"{kind} '{item.name}': expected lengths of at least 1, or -1 for any,"
                    f" found {list(dims)}",
                )
        tensors[item.name] = TensorConfig(
            name=item.name,
            where=where,
            datatype=schema.wire_datatype(item),
            dims=dims or None,
            optional=bool(getattr(item, "optional", False)),
            label_filename=_label_filename(item, where, source),
        )
    return tuple(tensors.values())


def _label_filename(item: Any, where: str, source: Source) -> str:
    name: str = getattr(item, "label_filename", "")
    if name in (".", "..") or "/" in name or "\0" in name:
        raise source.wrong(
            f"{where}.label_filename",
            f"expected the name of a file beside the config, found '{name}'",
        )
    return name


def _version_policy(message: Any, source: Source) -> VersionPolicy:
    policy = message.version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(latest=None)
    if choice == "specific":
        if not policy.specific.versions:
            raise source.wrong("version_policy.specific", "expected versions, found none")
        return VersionPolicy(latest=None, specific=tuple(policy.specific.versions))
    return VersionPolicy(latest=policy.latest.num_versions or 1)


def _instance_count(message: Any, source: Source) -> int | None:
    """The sum over the groups, as in Triton; a group without a count has one instance."""
    total = 0
    for index, group in enumerate(message.instance_group):
        where = f"instance_group[{index}]"
        kinds = group.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number
        kind = kinds[group.kind].name
        if kind not in ("KIND_AUTO", "KIND_CPU"):
            raise source.wrong(
                f"{where}.kind",
                f"{kind} is not available yet; expected KIND_CPU or KIND_AUTO",
            )
        if group.count < 0:
            raise source.wrong(f"{where}.count", f"expected at least 1, found {group.count}")
        total += group.count or 1
        if total > INSTANCES_MAX:
            raise source.wrong(
                f"{where}.count",
                f"expected at most {INSTANCES_MAX} instances of a model, found {total}",
            )
    return total or None


def _batching(message: Any, source: Source) -> tuple[DynamicBatching | None, int | None]:
    if not message.HasField("dynamic_batching"):
        return None, None
    batching = message.dynamic_batching
    where = "dynamic_batching.preferred_batch_size"
    sizes = tuple(sorted(set(batching.preferred_batch_size)))
    for size in sizes:
        if size < 1:
            raise source.wrong(where, f"expected at least 1, found {size}")
        if source.says("max_batch_size") and size > max(message.max_batch_size, 1):
            raise source.wrong(
                where, f"{size} is above max_batch_size, which is {message.max_batch_size}"
            )
    delay_ns = batching.max_queue_delay_microseconds * 1000
    if delay_ns > QUEUE_DELAY_NS_MAX:
        raise source.wrong(
            "dynamic_batching.max_queue_delay_microseconds",
            f"expected at most {QUEUE_DELAY_NS_MAX // 1000}, which are"
            f" {format_duration_ns(QUEUE_DELAY_NS_MAX)}, found {delay_ns // 1000}",
        )
    depth = batching.default_queue_policy.max_queue_size
    if depth > COUNT_MAX:
        raise source.wrong(
            "dynamic_batching.default_queue_policy.max_queue_size",
            f"expected at most {COUNT_MAX}, found {depth}",
        )
    return DynamicBatching(sizes, delay_ns), depth or None


def _optimization(message: Any, source: Source) -> str:
    level = message.optimization.graph.level
    if level not in _OPTIMIZATION:
        raise source.wrong(
            "optimization.graph.level",
            f"expected -1 (basic), 1 (extended) or 2 (none), found {level}",
        )
    return _OPTIMIZATION[level]


def _providers(message: Any, source: Source) -> tuple[tuple[str, Mapping[str, str]], ...]:
    accelerators = message.optimization.execution_accelerators
    found = []
    for kind, names in (("gpu", _GPU_PROVIDERS), ("cpu", _CPU_PROVIDERS)):
        field = f"{kind}_execution_accelerator"
        for index, item in enumerate(getattr(accelerators, field)):
            if item.name not in names:
                guess = did_you_mean(item.name, names) or f"; expected {_list(names)}"
                raise source.wrong(
                    f"optimization.execution_accelerators.{field}[{index}].name",
                    f"unknown accelerator '{item.name}'{guess}",
                )
            found.append((names[item.name], dict(item.parameters)))
    return tuple(found)


def _unknown_parameters(backend: str, parameters: Mapping[str, str], source: Source) -> list[str]:
    known = PARAMETERS[backend]
    return [
        f"{source.at(_place(key))}: parameter '{key}' has no effect with backend"
        f" '{backend}'{did_you_mean(key, known)}"
        for key in parameters
        if key not in known
    ]


def _place(key: str) -> str:
    return f'parameters["{key}"]'
