"""Prepared: what requests for threads and for asyncio have in common; and how one is prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fastserve import _core
from fastserve.client.call_error import CallError
from fastserve.client.results import InferResult
from fastserve.client.shm.deadlines import NEVER, Seconds, give_up_at, until
from fastserve.client.shm.inputs import Inputs
from fastserve.client.shm.links import Link, Links, Target
from fastserve.client.shm.signatures import Shapes

if TYPE_CHECKING:
    from fastserve._core.shm import ShmAnswer, ShmCall

T = TypeVar("T")


class Prepared:
    __slots__ = (
        "_call", "_give_up_ns", "_is_given_up", "_is_sent", "_target", "_timeout_s", "inputs",
    )  # fmt: skip

    def __init__(
        self,
        target: Target,
        call: ShmCall,
        *,
        batch: int | None,
        shapes: Shapes,
        timeout_s: Seconds | None,
    ) -> None:
        self._target = target
        self._call = call
        self._timeout_s = timeout_s
        self._give_up_ns = NEVER
        self._is_sent = False  # And its result was not taken.
        self._is_given_up = False  # Nobody waits for it, and it may be under way.
        self.inputs = Inputs(target, call, batch, shapes)

    def cancel(self) -> None:
        """It ends with CANCELLED unless it is over. Never waits."""
        self._is_given_up = True
        self._call.cancel()

    def close(self) -> None:
        """Cancel it if it is under way. Arrays that there are stay good."""
        self._leave()
        self._call = _GONE
        self.inputs.close(_GONE)

    def __repr__(self) -> str:
        state = "closed" if self._call is _GONE else "sent" if self._is_sent else "not sent"
        return f"<fastserve.client.shm.{type(self).__name__} to {self._target.model}, {state}>"

    def __reduce__(self) -> Any:
        raise TypeError("a request over shared memory stays in its process: send arrays instead")

    def _deadline(self, timeout_s: Seconds | None) -> int:
        deadline_ns = until(self._timeout_s if timeout_s is None else timeout_s)
        self._give_up_ns = give_up_at(deadline_ns)
        return deadline_ns

    def _send(self, deadline_ns: int, *, streams: bool = False) -> None:
        send = self._call.stream if streams else self._call.send
        self._within(lambda: send(deadline_ns))
        self._is_sent = True

    def _within(self, body: Callable[[], T]) -> T:
        try:
            return body()
        except _core.CoreError as error:
            raise self._failed(error) from None

    def _failed(self, error: _core.CoreError) -> CallError:
        self._is_sent = self._call.is_under_way
        return self._target.failure(error)

    def _late(self) -> CallError:
        self._leave()
        return self._target.link.late()

    def _leave(self) -> None:
        """Nobody waits for it any more."""
        self._is_sent = False
        if self._call is not _GONE and self._call.is_under_way:
            self._is_given_up = True
            self._call.cancel()


class _Gone:
    """The call of a request that was closed."""

    def __getattr__(self, name: str) -> Any:
        raise CallError("FAILED_PRECONDITION", "the request was closed: make another one")


_GONE: Any = _Gone()


def result_of(answer: ShmAnswer | bool | None) -> InferResult:
    """Errors: INTERNAL for a model that gave nothing."""
    if not isinstance(answer, tuple):
        raise CallError("INTERNAL", "the model gave no response: ask it with stream()")
    return InferResult(*answer, {})


def target_for(
    links: Links, link: Link, model: str, version: str, batch: int | None, shapes: Shapes
) -> Target | None:
    """What is known of the model, if it has those dimensions."""
    known = links.known(link, model, version)
    try:
        if known is not None:
            known.signature.check_dimensions(batch, shapes)
    except CallError:
        return None
    return known


def new_call(target: Target, outputs: Sequence[str] | None, id: str) -> ShmCall:
    """Errors: INVALID_ARGUMENT; FAILED_PRECONDITION in the child of a fork."""
    if isinstance(outputs, str):
        raise TypeError(f"outputs: expected names, e.g. [{outputs!r}]")
    try:
        call = target.link.connection.new_call(target.signature.core, target.version, id)
        if outputs:
            for output in outputs:
                call.want(output)
    except _core.CoreError as error:
        raise target.failure(error) from None
    return call


def filled_call(
    target: Target, inputs: Mapping[str, Any], outputs: Sequence[str] | None, id: str
) -> ShmCall:
    """With `inputs` copied to the segment. Errors: also RESOURCE_EXHAUSTED, UNAVAILABLE."""
    if type(inputs) is not dict and not isinstance(inputs, Mapping):
        raise TypeError(f"inputs: expected names and values, found a {type(inputs).__name__}")
    call = new_call(target, outputs, id)
    try:
        for name in inputs:
            call.assign(name, inputs[name])
    except _core.CoreError as error:
        raise target.failure(error) from None
    return call
