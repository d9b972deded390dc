"""/v2/repository: what is there, and loading and unloading it, as Triton's clients ask.

The index is there always. Loading and unloading need --model-control explicit.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from fastserve.control.manager import Manager, Model
from fastserve.control.model_control import ModelControl
from fastserve.control.state import State
from fastserve.errors import Error, invalid
from fastserve.server import logs
from fastserve.server.routes.responses import (
    INTERNAL,
    ControlRequest,
    Respond,
    Response,
    error_response,
    json_response,
)

INDEX = "/v2/repository/index"
# Parsed on the loop.
BODY_BYTES_MAX = 64 << 10
_SHOWN = {
    State.WAITING: "LOADING",
    State.LOADING: "LOADING",
    State.READY: "READY",
    State.FAILED: "UNAVAILABLE",
    State.RETIRED: "UNAVAILABLE",
}


class RepositoryRoutes:
    """Threads: the loop's. A load is answered when it has ended, an unload when the model is not
    found any more."""

    def __init__(self, manager: Manager, control: ModelControl | None) -> None:
        self._manager = manager
        self._control = control
        self._tasks: set[asyncio.Task[None]] = set()

    def has(self, path: str) -> bool:
        return path == INDEX or _action(path) is not None

    def render(self, request: ControlRequest, respond: Respond) -> None:
        """Answer a POST, perhaps some time later."""
        try:
            body = _body(request.body)
            found = _action(request.path)
            if found is None:
                respond(json_response(200, self.index(body)))
                return
            future = self._begin(*found, body)
        except Error as error:
            respond(error_response(error.http_status, error.message))
            return
        task = asyncio.get_running_loop().create_task(_answer(*found, future, respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def index(self, body: dict[str, Any]) -> list[dict[str, str]]:
        """Every version that was ever wanted, and the names of the models that were not."""
        only_ready = body.get("ready", False)
        if not isinstance(only_ready, bool):
            raise invalid('expected {"ready": true or false}')
        models = sorted(self._manager.models.values(), key=lambda model: model.name)
        entries = [entry for model in models for entry in _entries(model)]
        return [one for one in entries if not only_ready or one.get("state") == "READY"]

    def _begin(self, name: str, action: str, body: dict[str, Any]) -> Future[None]:
        if self._control is None:
            raise Error(
                "FAILED_PRECONDITION",
                f"models cannot be {action}ed: the server was started without"
                " --model-control explicit",
            )
        parameters = body.get("parameters", {})
        if not isinstance(parameters, dict):
            raise invalid("parameters: expected an object")
        if action == "unload":
            return self._control.unload(name)
        if parameters:
            raise Error(
                "UNIMPLEMENTED",
                "models are loaded from the repository alone: configs and files in a request are"
                f" not supported, found the parameter '{next(iter(parameters))}'",
            )
        return self._control.load(name)


async def _answer(name: str, action: str, future: Future[None], respond: Respond) -> None:
    try:
        # Shielded: others may wait for the same load.
        await asyncio.shield(asyncio.wrap_future(future))
    except Error as error:
        logs.error(f"model '{name}' was not {action}ed: {error.message}")
        message = f"model '{name}' was not {action}ed: {error.message}"
        respond(error_response(error.http_status, message))
    except asyncio.CancelledError:
        respond(error_response(503, "the server is ending"))
        raise
    except Exception:  # noqa: BLE001 It is answered and logged.
        logs.LOGGER.exception("%sing %s failed", action, name)
        respond(error_response(500, INTERNAL))
    else:
        logs.info(f"model '{name}' was {action}ed")
        respond(Response(200))


def _action(path: str) -> tuple[str, str] | None:
    """The model and what is to be done with it; the path is decoded, and no name has a slash."""
    match path.split("/")[1:]:
        case ["v2", "repository", "models", name, "load" | "unload" as action] if name:
            return name, action
    return None


def _body(text: bytes) -> dict[str, Any]:
    """Errors: INVALID_ARGUMENT."""
    if not text:
        return {}
    if len(text) > BODY_BYTES_MAX:
        raise invalid(f"expected at most {BODY_BYTES_MAX} bytes, found {len(text)}")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise invalid("the body: expected a JSON object")
    return body


def _entries(model: Model) -> Iterator[dict[str, str]]:
    states = dict(model.states)
    if not states:
        yield {
            "name": model.name,
            **({"state": "UNAVAILABLE", "reason": model.problem} if model.problem else {}),
        }
    for version, state in sorted(states.items()):
        reason = "unloaded" if state.state is State.RETIRED else state.reason
        yield {
            "name": model.name,
            "version": str(version),
            "state": _SHOWN[state.state],
            **({"reason": reason} if reason else {}),
        }
