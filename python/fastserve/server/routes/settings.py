"""What can be set while the server runs, as Triton's clients do it.

    GET, POST /v2/logging
    GET, POST /v2/trace/setting               of all models
    GET, POST /v2/models/NAME/trace/setting   of one

A POST changes what it names, all of it or nothing, and answers as GET would afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastserve.errors import Error, invalid
from fastserve.server.live.live_settings import LiveSettings
from fastserve.server.routes.bodies import json_object
from fastserve.server.routes.responses import (
    ControlRequest,
    Later,
    Respond,
    Response,
    json_response,
)

# Parsed on the loop; what is larger is no setting.
_BODY_BYTES_MAX = 16 << 10
Operation = Callable[[ControlRequest, dict[str, str], Respond], None]


class SettingsRoutes:
    """Threads: the loop's. `find_model` raises NOT_FOUND for a model that does not exist."""

    def __init__(self, live: LiveSettings | None, find_model: Callable[[str], object]) -> None:
        self._live = live
        self._find_model = find_model
        self._later = Later()

    def operations(self) -> dict[str, Operation]:
        """Each answers some time later: when every event loop goes by what was changed."""
        return {
            "log_get": lambda _, __, respond: self._begin(self.log({}), respond),
            "log_set": lambda request, _, respond: self._begin(
                self.log(_settings(request.body)), respond
            ),
            "trace_get": lambda _, of, respond: self._begin(
                self.trace(of.get("model", ""), {}), respond
            ),
            "trace_set": lambda request, of, respond: self._begin(
                self.trace(of.get("model", ""), _settings(request.body)), respond
            ),
        }

    # Over HTTP and gRPC alike. Errors: INVALID_ARGUMENT, NOT_FOUND; then nothing has changed.

    async def log(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Change what is named, if anything; what is set then."""
        return await self._required().change_log(changes)

    async def trace(self, model: str, changes: dict[str, Any]) -> dict[str, Any]:
        """As log(); of one model, or of all of them without a name."""
        live = self._required()
        if model:
            self._find_model(model)
        return await live.change_trace(model, changes)

    def _begin(self, work: Coroutine[Any, Any, dict[str, Any]], respond: Respond) -> None:
        async def shown() -> Response:
            return json_response(200, await work)

        self._later.begin(shown(), respond)

    def _required(self) -> LiveSettings:
        if self._live is None:
            raise Error("UNIMPLEMENTED", "this server's settings are its program's affair")
        return self._live


def _settings(text: bytes) -> dict[str, Any]:
    """Errors: INVALID_ARGUMENT."""
    if len(text) > _BODY_BYTES_MAX:
        raise invalid(f"the body has {len(text)} bytes; settings need less than {_BODY_BYTES_MAX}")
    return json_object(text)
