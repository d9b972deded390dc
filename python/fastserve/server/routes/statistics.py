"""Triton's statistics: what was counted of each version since it was loaded.

    GET /v2/models/stats                          of all
    GET /v2/models/NAME[/versions/VERSION]/stats  of one model

Each duration has a count and a sum of nanoseconds. Those of requests (success, queue) are per
request, those of the engine (compute_...) per execution, which for Triton is per request of it: an
average is that of a batch. There are no statistics by batch size, no cache, and nothing says when
the last inference was (0).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastserve.errors import Error
from fastserve.server import logs
from fastserve.server.routes.responses import (
    INTERNAL,
    Respond,
    error_response,
    json_response,
)


@dataclass(frozen=True)
class Counted:
    """What the loops have counted of a version, together."""

    name: str
    version: int
    stats: Mapping[str, Any]


# All versions that are loaded. It asks each loop.
Count = Callable[[], Awaitable[Sequence[Counted]]]


class StatisticsRoutes:
    """Threads: the loop's."""

    def __init__(self, count: Count | None) -> None:
        self._count = count
        self._tasks: set[asyncio.Task[None]] = set()

    def render(self, name: str | None, version: int | None, respond: Respond) -> None:
        """Answer some time later. No name: all models; no version: all of them that are loaded."""
        task = asyncio.get_running_loop().create_task(self._render(name, version, respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def of(self, name: str | None, version: int | None) -> list[dict[str, Any]]:
        if self._count is None:
            raise Error("UNIMPLEMENTED", "nothing is counted here")
        return [
            _shown(counted)
            for counted in await self._count()
            if name in (None, counted.name) and version in (None, counted.version)
        ]

    async def _render(self, name: str | None, version: int | None, respond: Respond) -> None:
        try:
            respond(json_response(200, {"model_stats": await self.of(name, version)}))
        except Error as error:
            respond(error_response(error.http_status, error.message))
        except Exception:  # noqa: BLE001 It is answered and logged.
            logs.LOGGER.exception("statistics failed")
            respond(error_response(500, INTERNAL))


def _shown(counted: Counted) -> dict[str, Any]:
    stats = counted.stats
    requests, run = stats["request_ns"], stats["run_ns"]
    none = {"count": 0, "ns": 0}
    return {
        "name": counted.name,
        "version": str(counted.version),
        "last_inference": 0,
        "inference_count": stats["rows"],
        "execution_count": stats["executions"],
        "inference_stats": {
            # Counted before the answer is sent; its time is known when it was.
            "success": {"count": stats["success"], "ns": requests["sum_ns"]},
            "fail": {"count": sum(stats["failure"].values()), "ns": 0},
            "queue": _duration(stats["queue_ns"]),
            "compute_input": _duration(stats["stage_ns"]),
            "compute_infer": _duration(run),
            "compute_output": _duration(stats["finish_ns"]),
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [],
    }


def _duration(histogram: Mapping[str, Any]) -> dict[str, int]:
    return {"count": histogram["count"], "ns": histogram["sum_ns"]}
