"""ModelConfig: what a model's directory says about how it should be served.

Frozen data in the words of Triton's schema. None means "not said": completion.py fills it in from
the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping
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

# Parameters that mean something to a backend; any other is named in a warning.
PARAMETERS = {
    "onnxruntime": (
        "intra_op_thread_count",
        "inter_op_thread_count",
        "session.intra_op.allow_spinning",
    ),
    "identity": ("delay_us", "repeat"),
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
    source: Source = field(default_factory=Source)
    raw: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def batching_is_automatic(self) -> bool:
        """Nothing is said about shapes or batches: the model itself decides, as without a file."""
        return self.max_batch_size is None and not self.inputs and not self.outputs


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
