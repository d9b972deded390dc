"""What a client's calls return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class InferResult(Mapping[str, Any]):
    """An inference's outputs by name, as numpy arrays: result["label"].

    Arrays are writable views of the memory that the answer was received into. BYTES are arrays of
    bytes objects, BF16 is ml_dtypes.bfloat16, or uint16 where that is not installed.
    """

    __slots__ = ("_outputs", "id", "model", "parameters", "version")

    def __init__(
        self,
        model: str,
        version: str,
        id: str,
        outputs: Mapping[str, Any],
        parameters: Mapping[str, bool | int | float | str],
    ) -> None:
        self.model = model
        self.version = version  # That answered.
        self.id = id  # Of the request.
        self.parameters = parameters  # What the server says besides.
        self._outputs = outputs

    def __getitem__(self, name: str) -> Any:
        return self._outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}: {array!r}" for name, array in self._outputs.items())
        return f"<InferResult of {self.model}, version {self.version}: {shown}>"


@dataclass(frozen=True)
class ServerMetadata:
    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True)
class TensorMetadata:
    """`shape` has -1 where any length fits, and the batch dimension."""

    name: str
    datatype: str  # "FP32"
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelMetadata:
    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


@dataclass(frozen=True)
class ModelState:
    """One version of a model in the server's repository."""

    name: str
    version: str  # "" where there is none yet.
    state: str  # READY, LOADING, UNLOADING, UNAVAILABLE, or "".
    reason: str  # Why it is not READY; "" if it is.
