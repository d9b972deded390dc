"""Signature: what a model takes and gives, and what shape an input that is to be written has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fastserve.client.call_error import CallError
from fastserve.client.results import ModelMetadata, TensorMetadata

if TYPE_CHECKING:
    from fastserve._core.shm import ShmSignature, ShmTensor

Shapes = Mapping[str, Sequence[int]]


class Signature:
    """A value: two are equal if the same requests fit both."""

    __slots__ = ("core", "inputs", "max_batch_size", "outputs")

    def __init__(self, core: ShmSignature) -> None:
        self.core = core
        self.inputs: dict[str, ShmTensor] = {tensor[0]: tensor for tensor in core.inputs}
        self.outputs = core.outputs
        self.max_batch_size = core.max_batch_size

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Signature)
            and self.inputs == other.inputs
            and self.outputs == other.outputs
            and self.max_batch_size == other.max_batch_size
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def metadata(self) -> ModelMetadata:
        """Of the version that answered; the platform is not said over shared memory."""
        return ModelMetadata(
            self.core.model,
            (self.core.version,),
            "",
            tuple(TensorMetadata(*tensor[:3]) for tensor in self.inputs.values()),
            tuple(TensorMetadata(*tensor[:3]) for tensor in self.outputs),
        )

    def check_dimensions(self, batch: int | None, shapes: Shapes) -> None:
        """Errors: INVALID_ARGUMENT, of what cannot be of this model's requests."""
        if batch is not None and batch < 1:
            raise _invalid(f"batch: expected at least 1, found {batch}")
        if batch is not None and not self.max_batch_size:
            raise _invalid(
                f"batch: model '{self.core.model}' has no batch dimension: say each input's shape,"
                f" {self._example()}"
            )
        for name in shapes:
            if name not in self.inputs:
                known = ", ".join(map(repr, self.inputs)) or "none"
                raise _invalid(
                    f"shapes: model '{self.core.model}' takes no input '{name}', expected {known}"
                )
            self.shape_of(name, batch, shapes)

    def shape_of(self, name: str, batch: int | None, shapes: Shapes) -> tuple[int, ...]:
        """Errors: INVALID_ARGUMENT, with what is to be said."""
        _, datatype, known, _ = self.inputs[name]
        if datatype == "BYTES":
            raise _invalid(
                f"input '{name}' is BYTES, whose memory depends on what is in it: assign a list or"
                " an array of str or bytes"
            )
        given = shapes.get(name)
        if given is None:
            return self._filled(name, known, batch)
        shape = tuple(int(length) for length in given)
        if len(shape) != len(known) or any(
            length < 0 or expected not in (-1, length)
            for length, expected in zip(shape, known, strict=True)
        ):
            raise _invalid(f"shapes: input '{name}' cannot be {shape}, expected {known}")
        return shape

    def _filled(self, name: str, known: tuple[int, ...], batch: int | None) -> tuple[int, ...]:
        has_batch = self.max_batch_size > 0 and known[:1] == (-1,)
        shape = (batch or 1, *known[1:]) if has_batch else known
        if -1 in shape:
            raise _invalid(
                f"input '{name}' has shape {known}, where -1 may be any length: say which,"
                f" request({self.core.model!r}, {self._example(name)}), or assign an array"
            )
        return shape

    def _example(self, name: str = "") -> str:
        """As a user would write it."""
        for one, (_, _, known, _) in self.inputs.items():
            if name in ("", one):
                shape = tuple(8 if length < 0 else length for length in known)
                return f"shapes={{{one!r}: {shape}}}"
        return "shapes={...}"


def _invalid(message: str) -> CallError:
    return CallError("INVALID_ARGUMENT", message)
