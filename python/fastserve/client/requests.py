"""From what infer() is told to the request that the core sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastserve import _core
from fastserve._core.client import ClientRequest
from fastserve.client.call_error import CallError, from_core

Parameters = Mapping[str, bool | int | float | str]
# How many of an output's best classes, by its name.
Classes = Mapping[str, int]


@dataclass(frozen=True)
class RequestSequence:
    """The sequence a request belongs to, for models that keep state between requests."""

    id: int | str
    start: bool = False
    end: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """An inference, to be sent as often as it takes."""

    model: str
    version: str
    message: ClientRequest
    may_be_repeated: bool


def make(
    model: str,
    inputs: Mapping[str, Any],
    outputs: Sequence[str] | None,
    *,
    version: str | int = "",
    id: str = "",
    classes: Classes | None = None,
    parameters: Parameters | None = None,
    priority: int = 0,
    sequence: RequestSequence | None = None,
) -> Request:
    """Errors: INVALID_ARGUMENT for what no request can say."""
    if isinstance(outputs, str):
        raise TypeError(f"outputs: expected names, e.g. [{outputs!r}]")
    if not isinstance(inputs, Mapping):
        raise TypeError(f"inputs: expected names and values, found a {type(inputs).__name__}")
    text = str(version)
    try:
        message = ClientRequest(model, text, id)
        for name, value in inputs.items():
            message.add_input(name, value)
        if outputs or classes:
            for name in dict.fromkeys([*(outputs or ()), *(classes or ())]):
                message.add_output(name, (classes or {}).get(name, 0))
        if parameters:
            for name, value in parameters.items():
                message.add_parameter(name, value)
    except _core.CoreError as error:
        raise from_core(error, "") from None
    if priority:
        message.priority = priority
    if sequence is not None:
        if sequence.id in (0, ""):
            raise CallError("INVALID_ARGUMENT", "sequence: expected an id but 0 and ''")
        message.set_sequence(sequence.id, sequence.start, sequence.end)
    return Request(model, text, message, may_be_repeated=sequence is None)
