"""/v2/repository: what is there, and changing what is served, as Triton's clients ask, and more.

    POST index                   every version and its state
    POST models/NAME/load        {"parameters": {"config": "...", "file:1/model.onnx": "<base64>"}}
    POST models/NAME/unload      {"parameters": {"unload_dependents": true}}
    POST models/NAME/labels      {"labels": {"stable": 3, "old": null}}
    POST models/NAME/rollback    {"version": 2}, or nothing for the one before
    GET  events?after=7          what has changed since, as soon as something has

The index and the events are there always. Loading and unloading need --model-control explicit,
labels and roll-backs explicit or poll.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from fastserve.control.labels import LABELS_MAX
from fastserve.control.manager import Manager
from fastserve.control.model import Model
from fastserve.control.model_control import ModelControl
from fastserve.control.repository import inline
from fastserve.control.state import State
from fastserve.errors import Error, invalid
from fastserve.server import logs
from fastserve.server.routes.bodies import json_object
from fastserve.server.routes.events import EventRoutes
from fastserve.server.routes.responses import (
    ControlRequest,
    Later,
    Respond,
    Response,
    json_response,
)

INDEX, EVENTS = "/v2/repository/index", "/v2/repository/events"
# What is larger is parsed on a thread, not on the loop.
_PARSED_HERE_BYTES_MAX = 16 << 10
_SHOWN = {
    State.WAITING: "LOADING",
    State.LOADING: "LOADING",
    State.READY: "READY",
    State.UNLOADING: "UNLOADING",
    State.FAILED: "UNAVAILABLE",
    State.RETIRED: "UNAVAILABLE",
}


@dataclass(frozen=True)
class _Action:
    """What can be asked about a model: how it begins, and what its result is answered with."""

    past: str  # "the model was ...".
    begin: Callable[[ModelControl, str, dict[str, Any]], Future[Any]]
    shown: Callable[[Any], dict[str, Any]] | None = None
    modes: tuple[str, ...] = ("explicit", "poll")


def _begin_load(control: ModelControl, name: str, body: dict[str, Any]) -> Future[Any]:
    return control.load(name, inline.from_parameters(_object(body, "parameters")))


def _begin_unload(control: ModelControl, name: str, body: dict[str, Any]) -> Future[Any]:
    parameters = _object(body, "parameters")
    # No model depends on another one yet, so that there is nothing more to unload.
    if not isinstance(parameters.get("unload_dependents", False), bool):
        raise invalid("unload_dependents: expected true or false")
    return control.unload(name)


def _begin_label(control: ModelControl, name: str, body: dict[str, Any]) -> Future[Any]:
    labels = _object(body, "labels")
    if not labels or len(labels) > LABELS_MAX:
        raise invalid(f'expected {{"labels": {{"stable": 3}}}}, 1 to {LABELS_MAX} of them')
    return control.label(name, {key: _version(value, key) for key, value in labels.items()})


def _begin_rollback(control: ModelControl, name: str, body: dict[str, Any]) -> Future[Any]:
    return control.roll_back(name, _version(body.get("version"), "version"))


def _rolled_back(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.default_version(),
        "skipped": sorted(model.skipped),
    }


_ACTIONS = {
    "load": _Action("loaded", _begin_load, modes=("explicit",)),
    "unload": _Action("unloaded", _begin_unload, modes=("explicit",)),
    "labels": _Action("labelled", _begin_label, lambda labels: {"labels": dict(labels)}),
    "rollback": _Action("rolled back", _begin_rollback, _rolled_back),
}


class RepositoryRoutes:
    """Threads: the loop's. A load is answered when it has ended, an unload when the model is not
    found any more."""

    def __init__(self, manager: Manager, control: ModelControl | None, mode: str) -> None:
        self._manager = manager
        self._control = control
        self._mode = mode
        self._events = EventRoutes(manager.events)
        self._later = Later()

    def verb(self, path: str) -> str | None:
        """What a path takes; None if it is none of these."""
        if path == EVENTS:
            return "GET"
        return "POST" if path == INDEX or _action(path) is not None else None

    def render(self, request: ControlRequest, respond: Respond) -> None:
        """Answer, perhaps some time later."""
        if request.path == EVENTS:
            self._events.render(request.query, respond)
            return
        self._later.begin(self._answer(request), respond)

    def end_waiting(self) -> None:
        """Nobody may wait for what happens next: this server ends."""
        self._events.end_waiting()

    def index(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Every version that was ever wanted, and the names of the models that were not."""
        only_ready = body.get("ready", False)
        if not isinstance(only_ready, bool):
            raise invalid('expected {"ready": true or false}')
        models = sorted(self._manager.models.values(), key=lambda model: model.name)
        entries = [entry for model in models for entry in _entries(model)]
        return [one for one in entries if not only_ready or one.get("state") == "READY"]

    async def _answer(self, request: ControlRequest) -> Response:
        body = await _body(request.body)
        found = _action(request.path)
        if found is None:
            return json_response(200, await self.fresh_index(body))
        shown = await self.act(*found, body)
        return json_response(200, {"name": found[0], **shown}) if shown else Response(200)

    async def fresh_index(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The index, with what is in the repository now. Errors: INVALID_ARGUMENT."""
        if self._control is not None:
            await asyncio.to_thread(self._control.refresh)
        return self.index(body)

    async def act(self, name: str, word: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Load, unload...: what is said of the result. Errors: whatever went wrong with it."""
        action = _ACTIONS[word]
        if self._control is None or self._mode not in action.modes:
            raise Error(
                "FAILED_PRECONDITION",
                f"models cannot be {action.past}: it needs --model-control"
                f" {' or '.join(action.modes)}, and the server was started with {self._mode}",
            )
        try:
            if len(body) > 0:  # Files are decoded on the way.
                future = await asyncio.to_thread(action.begin, self._control, name, body)
            else:
                future = action.begin(self._control, name, body)
            result = await _result_of(future)
        except Error as error:
            message = f"model '{name}' was not {action.past}: {error.message}"
            logs.error(message)
            raise Error(error.code, message) from None
        shown = action.shown(result) if action.shown is not None else None
        logs.info(f"model '{name}' was {action.past}{_details(shown)}")
        return shown


async def _result_of(future: Future[Any]) -> Any:
    """Others may wait for it, too: it is not cancelled with this task."""
    awaited = asyncio.wrap_future(future)
    await asyncio.wait([awaited])
    error = awaited.exception()  # CancelledError, if the server ends.
    if isinstance(error, Error):
        # Not the one that the future holds: it would hold this request, until the collector comes.
        raise Error(error.code, error.message)
    if error is not None:
        raise error
    return awaited.result()


def _details(shown: dict[str, Any] | None) -> str:
    return f": {json.dumps(shown)}" if shown else ""


def _action(path: str) -> tuple[str, str] | None:
    """The model and what is to be done with it; the path is decoded, and no name has a slash."""
    match path.split("/")[1:]:
        case ["v2", "repository", "models", name, word] if name and word in _ACTIONS:
            return name, word
    return None


async def _body(text: bytes) -> dict[str, Any]:
    """Errors: INVALID_ARGUMENT."""
    if len(text) > _PARSED_HERE_BYTES_MAX:
        return await asyncio.to_thread(json_object, text)
    return json_object(text)


def _object(body: dict[str, Any], key: str) -> dict[str, Any]:
    value = body.get(key, {})
    if not isinstance(value, dict):
        raise invalid(f"{key}: expected an object")
    return value


def _version(value: Any, where: str) -> int | None:
    """Of JSON: a number, or its text; None for null."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise invalid(f"{where[:100]}: expected a version, found {str(value)[:100]!r}")


def _entries(model: Model) -> Iterator[dict[str, Any]]:
    states = dict(model.states)
    if not states:
        reason = model.reason() if model.problem else ""
        yield {
            "name": model.name,
            **({"state": "UNAVAILABLE", "reason": reason} if reason else {}),
        }
    default = model.default_version()
    for version, state in sorted(states.items()):
        reason = "unloaded" if state.state is State.RETIRED else ""
        if state.state is State.FAILED:
            reason = model.reason(version)
        labels = model.labels_of(version)
        yield {
            "name": model.name,
            "version": str(version),
            "state": _SHOWN[state.state],
            **({"reason": reason} if reason else {}),
            **({"labels": labels} if labels else {}),
            **({"default": True} if version == default else {}),
        }
