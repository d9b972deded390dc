"""Inputs: what a request over shared memory sends, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastserve import _core
from fastserve._core.shm import ShmCall
from fastserve.client.shm.links import Target
from fastserve.client.shm.signatures import Shapes


class Inputs:
    """A request's inputs by name.

        inputs["image"][:] = image      # An array in shared memory: nothing is copied afterwards.
        inputs["image"] = image         # The same, whatever its shape.
        inputs["text"] = ["some", "text"]

    An array that was not written to has any values at all. What was not asked for is not sent.

    Errors: CallError INVALID_ARGUMENT for a name that the model does not take, another dtype or a
    shape that is not known; RESOURCE_EXHAUSTED when the memory for requests is used up;
    FAILED_PRECONDITION while the request is under way.
    """

    __slots__ = ("_arrays", "_batch", "_call", "_is_set", "_shapes", "_target")

    def __init__(self, target: Target, call: ShmCall, batch: int | None, shapes: Shapes) -> None:
        self._target = target
        self._call = call
        self._batch = batch
        self._shapes = shapes
        self._arrays: dict[str, Any] = {}
        self._is_set: dict[str, bool] = {}  # A set that keeps its order.

    def __getitem__(self, name: str) -> Any:
        array = self._arrays.get(name)
        return self._array(name) if array is None else array

    def __setitem__(self, name: str, value: Any) -> None:
        if value is self._arrays.get(name, self):  # inputs["x"] += 1 ends here.
            return
        try:
            self._call.assign(name, value)
        except _core.CoreError as error:
            raise self._target.failure(error) from None
        self._arrays.pop(name, None)  # It may have moved.
        self._is_set[name] = True

    def __contains__(self, name: object) -> bool:
        """Whether it is sent."""
        return name in self._is_set

    def __iter__(self) -> Iterator[str]:
        """The names of those that are sent."""
        return iter(self._is_set)

    def __len__(self) -> int:
        return len(self._is_set)

    def __repr__(self) -> str:
        return f"<inputs {', '.join(self._is_set) or 'none yet'}>"

    def _array(self, name: str) -> Any:
        try:
            array = self._call.input(name)
            if array is None:
                shape = self._target.signature.shape_of(name, self._batch, self._shapes)
                array = self._call.add_input(name, shape)
        except _core.CoreError as error:
            raise self._target.failure(error) from None
        self._is_set[name] = True
        if self._target.signature.inputs[name][1] != "BYTES":  # Those are a copy.
            self._arrays[name] = array
        return array

    def close(self, gone: ShmCall) -> None:
        """Views that the user has stay good."""
        self._arrays.clear()
        self._call = gone
