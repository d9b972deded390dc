"""The child process of a ProcessLoop: an event loop with its front end and its engines.

    python -P -m fastserve.server.loops.child FD NUMBER

It answers what its parent asks over the socketpair FD, and forwards every control request there.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from fastserve import _core
from fastserve.config.options import Options
from fastserve.control.loading.loader import Loaded, Loader
from fastserve.errors import Error
from fastserve.server import logs
from fastserve.server.front_end import CutOff, FrontEnd
from fastserve.server.live.loop_settings import LoopSettings
from fastserve.server.live.shared_regions import SharedRegions
from fastserve.server.loops.channel import Channel, Message
from fastserve.server.loops.event_loop import loop_factory, tune_process
from fastserve.server.loops.tally import LoopStats
from fastserve.server.routes.responses import error_response
from fastserve.server.sockets.acceptor import with_connections_that_fit
from fastserve.server.tracing import entries

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
# Control requests that may wait for the parent; more are turned away.
_FORWARDED_MAX = 256
_LOOK_PERIOD_S = 0.02  # At a version that is to go.


def main() -> None:
    # A terminal's Ctrl-C reaches the whole group; the parent says what is to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    fd, number = int(sys.argv[1]), int(sys.argv[2])
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(_PR_SET_NAME, f"fastserve-{number}".encode())
    tune_process()
    sock = socket.socket(fileno=fd)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        status = runner.run(_serve(sock, number))
        sys.stderr.flush()
        # As in app.run(): an engine may still be at work, and cannot be interrupted.
        os._exit(status)


async def _serve(sock: socket.socket, number: int) -> int:
    channel = await Channel.open(sock)
    first = await channel.receive()
    if first is None or first.kind != "start":
        return 1
    if os.getppid() != first.fields["parent"]:
        return 1  # It died before the kernel was asked to tell of it.
    options: Options = pickle.loads(first.body)
    logs.configure(options.log_format, options.log_level)
    options = with_connections_that_fit(options)
    sockets = [socket.socket(fileno=fd) for fd in first.fields["sockets"]]
    child = Child(channel, options, sockets, number)
    channel.send("answer", id=first.id)
    return await child.run()


class Child:
    """Threads: the loop's."""

    def __init__(
        self, channel: Channel, options: Options, sockets: list[socket.socket], number: int
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._sockets = sockets
        self._number = number
        self._serving_map = _core.ServingMap()
        self._loader = Loader(options.model_defaults)
        self._regions = SharedRegions.of(options)
        self._front_end = FrontEnd(
            options,
            self._serving_map,
            self._forward,
            self._loop,
            self._forward_traces,
            self._regions.registry if self._regions else None,
        )
        self._candidates: dict[tuple[str, int], Loaded] = {}  # Loaded, not yet published.
        self._loaded: dict[tuple[str, int], Loaded] = {}
        self._published: set[tuple[str, int]] = set()
        self._forwarded: dict[int, _core.ControlRequest] = {}
        self._next_id = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_to_end = asyncio.Event()

    async def run(self) -> int:
        self._loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)
        listener = self._loop.create_task(self._listen_to_parent())
        end = self._loop.create_task(self._told_to_end.wait())
        await asyncio.wait([listener, end], return_when=asyncio.FIRST_COMPLETED)
        if listener.done():
            listener.result()
            logs.error(f"loop {self._number}: the parent is gone; it ends as well")
            return 1
        cut_off = await self._front_end.drain()
        self._say_drained(cut_off)
        await self._channel.flush()
        return 0

    def _on_sigterm(self) -> None:
        """Somebody wants this one loop to end: the parent replaces it meanwhile."""
        self._channel.send("leaving")
        self._told_to_end.set()

    def _say_drained(self, cut_off: CutOff) -> None:
        self._channel.send(
            "drained",
            cut_off=[cut_off.requests, cut_off.connections],
            stats=self._stats().to_json(),
        )

    async def _listen_to_parent(self) -> None:
        """Until it is gone."""
        answers: dict[str, Callable[[Message], dict[str, Any]]] = {
            "publish": self._publish,
            "route": self._route,
            "configure": self._configure,
            "stats": lambda _: self._stats().to_json(),
            "debug": lambda message: {"debug": self._front_end.debug(message.fields["limit"])},
        }
        while (message := await self._channel.receive()) is not None:
            match message.kind:
                case "reply":
                    self._reply(message)
                case "drop":
                    self._begin(self._drop(message))
                case "discard":
                    self._candidates.pop(_version(message), None)
                case "drain":
                    self._told_to_end.set()
                case "accept":
                    await self._front_end.listen(self._sockets)
                    self._channel.send("answer", id=message.id)
                case "load":
                    self._begin(self._load(message))
                case kind:
                    self._channel.send("answer", id=message.id, **answers[kind](message))

    def _configure(self, message: Message) -> dict[str, Any]:
        settings = LoopSettings.from_json(message.fields)
        logs.apply(settings.log)
        self._front_end.configure(settings)
        if self._regions is not None:
            self._regions.follow(settings.regions)
        return {}

    def _forward_traces(self, records: Sequence[Mapping[str, Any]]) -> None:
        # Its numbers and names alone: who asked is not the trace's business.
        keys = (*entries.NUMBERS, *entries.TEXTS)
        chosen = [{key: record[key] for key in keys} for record in records]
        self._channel.send("traces", json.dumps(chosen).encode())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- Models ------------------------------------------------------------------------------

    async def _load(self, message: Message) -> None:
        source, version, config = pickle.loads(message.body)
        try:
            previous = self._loaded.get((source.name, version))
            loaded = await asyncio.to_thread(self._loader.load, source, version, config, previous)
        except Error as error:
            self._channel.send("answer", id=message.id, code=error.code, message=error.message)
            return
        except Exception as error:  # noqa: BLE001 It is the version's problem, and is told.
            logs.LOGGER.exception("loading %s failed", source.name)
            self._channel.send("answer", id=message.id, code="INTERNAL", message=str(error))
            return
        self._candidates[(loaded.name, loaded.version)] = loaded
        self._channel.send(
            "answer",
            id=message.id,
            platform=loaded.platform,
            load_ns=loaded.load_ns,
            served=asdict(loaded.served),
        )

    def _publish(self, message: Message) -> dict[str, Any]:
        version = _version(message)
        candidate = self._candidates.pop(version, None)
        if candidate is not None:
            self._loaded[version] = candidate
        self._serving_map.publish(cast(_core.Servable, self._loaded[version].servable))
        self._published.add(version)
        # What was imported and loaded stays: collections need not walk it any more.
        gc.freeze()
        return {}

    def _route(self, message: Message) -> dict[str, Any]:
        fields = message.fields
        self._serving_map.route(fields["name"], fields["labels"], fields["default"])
        return {}

    async def _drop(self, message: Message) -> None:
        """Answered when nothing of it is left."""
        version = _version(message)
        self._candidates.pop(version, None)
        self._loaded.pop(version, None)
        if version in self._published:
            self._published.discard(version)
            departure = self._serving_map.retire(*version)
            while not departure.is_gone:
                await asyncio.sleep(_LOOK_PERIOD_S)
        self._channel.send("answer", id=message.id)

    def _stats(self) -> LoopStats:
        stats = self._front_end.stats()
        return LoopStats(
            {**stats.gateway, **(self._regions.used() if self._regions else {})},
            stats.connections,
            stats.in_flight,
            {version: self._loaded[version].servable.stats() for version in self._published},
        )

    # -- Control requests --------------------------------------------------------------------

    def _forward(self, request: _core.ControlRequest) -> None:
        """The core catches nothing: whatever goes wrong is answered here."""
        if len(self._forwarded) >= _FORWARDED_MAX:
            busy = error_response(503, "too many control requests wait for an answer")
            request.respond(busy.status, busy.body, busy.headers)
            return
        self._next_id += 1
        self._forwarded[self._next_id] = request
        self._channel.send(
            "control",
            request.body,
            id=self._next_id,
            is_grpc=request.is_grpc,
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            peer=request.peer,
            peer_uid=request.peer_uid,
            may_share=request.may_share,
        )

    def _reply(self, message: Message) -> None:
        request = self._forwarded.pop(message.id, None)
        if request is None:
            return
        headers = [(name, value) for name, value in message.fields["headers"]]
        try:
            request.respond(message.fields["status"], message.body, headers)
        except Exception:  # noqa: BLE001 Nobody is left to tell but the log.
            logs.LOGGER.exception("answering %s %s failed", request.method, request.path)


def _version(message: Message) -> tuple[str, int]:
    name, number = message.fields["version"]
    return name, number


if __name__ == "__main__":
    main()
