"""GET /v2/openapi.json: what can be asked here, models and their tensors included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable

from fastserve.control.loading.loader import Loaded
from fastserve.control.manager import Manager
from fastserve.server import logs
from fastserve.server.routes.responses import INTERNAL, Respond, Response, error_response


class DocumentRoutes:
    """Threads: the loop's; the document is made on another one, since models may be many.

    `offers`: the operations that this server has.
    """

    def __init__(self, manager: Manager, offers: Callable[[], Iterable[str]]) -> None:
        self._manager = manager
        self._offers = offers
        self._tasks: set[asyncio.Task[None]] = set()

    def render(self, respond: Respond) -> None:
        """Answer, some time later."""
        task = asyncio.get_running_loop().create_task(self._render(respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _render(self, respond: Respond) -> None:
        try:
            models = [
                loaded
                for model in self._manager.models.values()
                if (loaded := model.loaded.get(model.default_version() or 0)) is not None
            ]
            body = await asyncio.to_thread(_made, models, set(self._offers()))
            respond(Response(200, body))
        except Exception:  # noqa: BLE001 It is answered and logged.
            logs.LOGGER.exception("making the OpenAPI document failed")
            respond(error_response(500, INTERNAL))


def _made(models: list[Loaded], offers: set[str]) -> bytes:
    from fastserve.server.openapi.document import document  # Few ask: the start need not wait.

    return json.dumps(document(models, offers=offers)).encode()
