"""What /debug answers, and to whom: the insides of a server that somebody wonders about.

It names requests, clients and options. Who may see it is asked for, and a peer at a loopback
address is not proof enough: behind a reverse proxy on this machine everybody has one, and a page in
a browser can ask for it. So forwarded requests and foreign hosts are turned away.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from fastserve import __version__
from fastserve.config.options import Options
from fastserve.control.manager import Manager
from fastserve.server import logs
from fastserve.server.banner import age_ns
from fastserve.server.loops.single import Loops
from fastserve.server.loops.tally import LoopStats
from fastserve.server.routes.responses import (
    INTERNAL,
    ControlRequest,
    Respond,
    error_response,
    json_response,
)

IN_FLIGHT_MAX = 100
_FORWARDING = ("forwarded", "via", "x-real-ip")
# Options whose value is nobody's business; there are none yet.
SECRETS: frozenset[str] = frozenset()


class DebugEndpoint:
    """Threads: the loop's."""

    def __init__(self, options: Options, manager: Manager, loops: Loops) -> None:
        self._options = options
        self._manager = manager
        self._loops = loops
        self._tasks: set[asyncio.Task[None]] = set()

    def render(self, request: ControlRequest, respond: Respond) -> None:
        """Answer, some time later."""
        why = refusal(self._options.debug_endpoint, request.headers, request.peer)
        if why:
            respond(error_response(403, why))
            return
        task = asyncio.get_running_loop().create_task(self._respond(respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond(self, respond: Respond) -> None:
        try:
            respond(json_response(200, await snapshot(self._options, self._manager, self._loops)))
        except Exception:  # noqa: BLE001 It is answered and logged.
            logs.LOGGER.exception("rendering /debug failed")
            respond(error_response(500, INTERNAL))


def refusal(mode: str, headers: Sequence[tuple[str, str]], peer: str) -> str:
    """Why this client may not see it; "" if it may. `mode` is --debug-endpoint."""
    if mode == "on":
        return ""
    if mode == "off":
        return "/debug is turned off; --debug-endpoint loopback shows it to this machine"
    is_told = "; --debug-endpoint on shows it to everybody"
    if not _is_local_peer(peer):
        return f"/debug is for clients on this machine{is_told}"
    for name, value in headers:
        lowered = name.lower()
        if lowered in _FORWARDING or lowered.startswith("x-forwarded-"):
            return f"/debug is not for forwarded requests (header {lowered}){is_told}"
        if lowered == "host" and not _is_local_host(_host_of(f"//{value}")):
            return f"/debug is for clients on this machine, found Host: {value}{is_told}"
        if lowered == "origin" and not _is_local_host(_host_of(value)):
            return f"/debug is for clients on this machine, found Origin: {value}{is_told}"
    return ""


def _host_of(url: str) -> str:
    from urllib.parse import urlsplit  # Only people ask.

    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_local_peer(peer: str) -> bool:
    """`peer` is an address with a port, "unix", or "" when it is not known."""
    return peer == "unix" or _is_local_host(peer.rpartition(":")[0].strip("[]"))


def _is_local_host(host: str) -> bool:
    if host == "localhost":
        return True
    import ipaddress

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


async def snapshot(options: Options, manager: Manager, loops: Loops) -> dict[str, Any]:
    totals = await loops.collect()
    return {
        "version": __version__,
        "pid": os.getpid(),
        "time_ns": time.time_ns(),
        "uptime_ns": age_ns(),
        "models": [
            {
                "name": model.name,
                **({"problem": model.problem} if model.problem else {}),
                "versions": [
                    {
                        "version": number,
                        "state": state.state,
                        **({"reason": state.reason} if state.reason else {}),
                        **_queue(_stats(model.loaded.get(number), totals, (model.name, number))),
                    }
                    for number, state in sorted(model.states.items())
                ],
            }
            for model in list(manager.models.values())
        ],
        "loops": await loops.debug(IN_FLIGHT_MAX),
        "gateway": dict(sorted(totals.gateway.items())),
        "options": shown_options(options),
    }


def shown_options(options: Options) -> dict[str, Any]:
    return {
        field.name: "(set)" if field.name in SECRETS else getattr(options, field.name)
        for field in fields(options)
    }


def _stats(loaded: Any, totals: LoopStats, version: tuple[str, int]) -> Mapping[str, Any]:
    if loaded is None:
        return {}
    stats: Mapping[str, Any] = totals.servables.get(version) or loaded.servable.stats()
    return stats


_QUEUE = ("queue_depth", "expected_wait_ns", "load", "instances", "success", "failure")


def _queue(stats: Mapping[str, Any]) -> dict[str, Any]:
    return {key: stats[key] for key in _QUEUE if key in stats}
