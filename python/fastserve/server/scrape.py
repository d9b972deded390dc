"""What /metrics answers: everything that was counted, at one moment.

prometheus_client takes longer to import than the server to start, so the first scrape brings it.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fastserve.control.manager import Manager
from fastserve.server import logs
from fastserve.server.live.live_settings import LiveSettings
from fastserve.server.loops.single import Loops
from fastserve.server.routes.responses import INTERNAL, Response, error_response
from fastserve.server.routes.statistics import Counted

if TYPE_CHECKING:
    from fastserve.server.metrics import Snapshot


class Scraper:
    """Threads: the loop's; the text is made on another one."""

    def __init__(
        self,
        manager: Manager,
        loops: Loops,
        loop: asyncio.AbstractEventLoop,
        live: LiveSettings | None = None,
        shm_stats: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._manager = manager
        self._loops = loops
        self._loop = loop
        self._live = live
        self._shm_stats = shm_stats
        self._tasks: set[asyncio.Task[None]] = set()

    def render(self, respond: Callable[[Response], None]) -> None:
        """Answer a scrape, some time later."""
        task = self._loop.create_task(self._respond(respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond(self, respond: Callable[[Response], None]) -> None:
        try:
            # In a thread, so that neither the first scrape, which imports, nor one of many models
            # stops the requests.
            await asyncio.to_thread(importlib.import_module, "fastserve.server.metrics")
            from fastserve.server import metrics

            body = await asyncio.to_thread(metrics.render, await self._snapshot())
            respond(Response(200, body, (("Content-Type", metrics.CONTENT_TYPE),)))
        except ImportError:
            respond(
                error_response(
                    501, "metrics need prometheus-client; install it: pip install prometheus-client"
                )
            )
        except Exception:  # noqa: BLE001 It is answered and logged; no scrape may end the task.
            logs.LOGGER.exception("rendering the metrics failed")
            respond(error_response(500, INTERNAL))

    async def count(self) -> list[Counted]:
        """What the loops have counted of each version that is loaded."""
        models = list(self._manager.models.values())
        stats = await self._loops.collect()
        return [
            Counted(model.name, number, counted)
            for model in models
            for number, loaded in sorted(model.loaded.items())
            # No loop has told yet what it counted.
            if (counted := stats.servables.get((model.name, number)) or loaded.servable.stats())
        ]

    async def _snapshot(self) -> Snapshot:
        from fastserve.server import metrics

        models = list(self._manager.models.values())
        stats = await self._loops.collect()
        return metrics.Snapshot(
            versions=tuple(
                metrics.VersionStats(model.name, number, loaded.load_ns, counted)
                for model in models
                for number, loaded in sorted(model.loaded.items())
                # No loop has told yet what it counted.
                if (counted := stats.servables.get((model.name, number)) or loaded.servable.stats())
            ),
            gateway={
                **stats.gateway,
                "traces_lost": stats.gateway.get("trace_records_dropped", 0)
                + (self._live.lost_traces() if self._live else 0),
            },
            shared_memory=self._live.regions.counted(stats.gateway)
            if self._live and self._live.regions
            else {},
            shm=self._shm_stats(),
            connections=stats.connections,
            in_flight=stats.in_flight,
            loops=self._loops.states(),
            loop_restarts=self._loops.restarts,
            pids=self._loops.pids(),
            states={
                key: state
                for model in models
                for key, state in (
                    [((model.name, str(n)), s.state.value) for n, s in sorted(model.states.items())]
                    or [((model.name, ""), "FAILED" if model.problem else "WAITING")]
                )
            },
        )
