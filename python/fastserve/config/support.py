"""What fastserve does with each field of ModelConfig: nothing is ignored in silence.

A field is honoured, or named in a warning because the model is served correctly without it, or
refused because serving without it would give other answers. tests/python/config checks that every
field of the schema has a line here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastserve.config.pbtxt import Source

# Read, and acted upon.
_HONOURED_WORDS = """
    name platform backend max_batch_size default_model_filename
    version_policy version_policy.latest version_policy.latest.num_versions version_policy.all
    version_policy.specific version_policy.specific.versions
    input input.name input.data_type input.dims input.optional
    output output.name output.data_type output.dims output.label_filename
    instance_group instance_group.count instance_group.kind
    dynamic_batching dynamic_batching.preferred_batch_size
    dynamic_batching.max_queue_delay_microseconds
    dynamic_batching.default_queue_policy dynamic_batching.default_queue_policy.max_queue_size
    optimization optimization.graph optimization.graph.level
    optimization.execution_accelerators
    optimization.execution_accelerators.gpu_execution_accelerator
    optimization.execution_accelerators.gpu_execution_accelerator.name
    optimization.execution_accelerators.gpu_execution_accelerator.parameters
    optimization.execution_accelerators.cpu_execution_accelerator
    optimization.execution_accelerators.cpu_execution_accelerator.name
    optimization.execution_accelerators.cpu_execution_accelerator.parameters
    parameters
    model_transaction_policy model_transaction_policy.decoupled
    model_warmup model_warmup.name model_warmup.batch_size model_warmup.count model_warmup.inputs
    """
HONOURED = frozenset(_HONOURED_WORDS.split())

_ONE_CLASS = "all requests are served in order of arrival"
_CPU_ONLY = "it tunes GPU execution, and fastserve serves on the CPU for now"

# The model is served correctly without it; the sentence says what is missing.
WARNED = {
    "metric_tags": "the metrics carry no extra labels yet",
    "cc_model_filenames": "default_model_filename is served on every device",
    "input.format": "it describes the layout, which fastserve passes on as it comes",
    "instance_group.name": "instances have no names here; the metrics are per model",
    "instance_group.profile": _CPU_ONLY,
    "instance_group.rate_limiter": "instances run whenever they are free",
    "instance_group.host_policy": "threads are not pinned to a host policy",
    "dynamic_batching.preserve_ordering": "responses are sent as they are ready",
    "dynamic_batching.priority_levels": _ONE_CLASS,
    "dynamic_batching.default_priority_level": _ONE_CLASS,
    "dynamic_batching.priority_queue_policy": _ONE_CLASS,
    "dynamic_batching.default_queue_policy.timeout_action": "it has no timeout to act upon yet",
    "dynamic_batching.default_queue_policy.default_timeout_microseconds": (
        "requests have no default timeout yet; clients may send the 'timeout' parameter"
    ),
    "dynamic_batching.default_queue_policy.allow_timeout_override": (
        "the 'timeout' parameter of a request is always accepted"
    ),
    "optimization.priority": "all models have the same priority",
    "optimization.cuda": _CPU_ONLY,
    "optimization.input_pinned_memory": _CPU_ONLY,
    "optimization.output_pinned_memory": _CPU_ONLY,
    "optimization.gather_kernel_buffer_threshold": _CPU_ONLY,
    "optimization.eager_batching": "batches are gathered when they run",
    "response_cache": "responses are not cached yet",
    "runtime": "the backend's own runtime is used",
    "model_metrics": "histogram buckets are fixed",
}

_LAYOUT = "fastserve would feed the model another shape than this asks for"

# Often written with `enable: false` inside, which asks for nothing.
_OFF_IF_EMPTY = {"response_cache"}

# Serving without it would be wrong; the sentence says why, and what to do instead.
REFUSED = {
    "sequence_batching": "sequences are not available yet: requests would lose their state",
    "ensemble_scheduling": "ensembles are not available yet; serve their models one by one",
    "input.reshape": "reshape is not available yet; write dims as the model has them",
    "output.reshape": "reshape is not available yet; write dims as the model has them",
    "input.is_shape_tensor": _LAYOUT,
    "output.is_shape_tensor": _LAYOUT,
    "input.allow_ragged_batch": "ragged batches are not available yet; pad the rows in the client",
    "input.is_non_linear_format_io": _LAYOUT,
    "output.is_non_linear_format_io": _LAYOUT,
    "instance_group.gpus": "GPU instances are not available yet; remove it to serve on the CPU",
    "instance_group.passive": "passive instances serve nothing, and nothing here would use them",
    "instance_group.secondary_devices": "secondary devices are not available",
    "batch_input": "inputs computed from the batch are not available yet",
    "batch_output": "outputs computed from the batch are not available yet",
    "model_operations": "custom operator libraries are not available yet",
    "model_repository_agents": (
        "repository agents are not available, and what they check or decrypt would be skipped"
    ),
}


def walk(message: Any, prefix: str = "", indexed: str = "") -> Iterator[tuple[str, str]]:
    """Every field that is set: ("input.reshape", "input[0].reshape"); maps count as one field."""
    for field, value in message.ListFields():
        path, where = f"{prefix}{field.name}", f"{indexed}{field.name}"
        if path in WARNED or path in REFUSED:
            yield path, where  # What is inside shares its fate.
            continue
        yield path, where
        inner = field.message_type
        if inner is None or inner.GetOptions().map_entry:
            continue
        if hasattr(value, "ListFields"):
            yield from walk(value, path + ".", where + ".")
        else:
            for index, item in enumerate(value):
                yield from walk(item, path + ".", f"{where}[{index}].")


def judge(message: Any, source: Source) -> list[str]:
    """Warnings, one line each, for what has no effect here.

    Errors: INVALID_ARGUMENT for the first field that fastserve must refuse.
    """
    warnings = []
    for path, where in walk(message):
        if path in _OFF_IF_EMPTY and not getattr(message, path).ListFields():
            continue
        if path in REFUSED:
            raise source.wrong(where, REFUSED[path])
        if path in WARNED:
            warnings.append(f"{source.at(where)}: {where} has no effect: {WARNED[path]}")
    return warnings
