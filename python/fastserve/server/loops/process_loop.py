"""ProcessLoop: an event loop in a child process, with engines of its own.

Started by exec and never by fork: engines and their threads do not survive one. It ends with its
parent: the kernel kills it (PR_SET_PDEATHSIG), and the socketpair tells it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastserve.config.options import Options
from fastserve.errors import Error
from fastserve.server import logs
from fastserve.server.front_end import CutOff
from fastserve.server.live.loop_settings import LoopSettings
from fastserve.server.loops.channel import Channel, Message
from fastserve.server.loops.member import End, ForwardedRequest
from fastserve.server.loops.tally import LoopStats
from fastserve.server.tracing.entries import check

_MODULE = "fastserve.server.loops.child"
_REAP_TIMEOUT_S = 2.0


class ProcessLoop:
    """A Member. Threads: the parent's loop, on the process's main thread.

    The kernel's promise to end the child is about the thread that started it.
    """

    def __init__(
        self,
        number: int,
        options: Options,
        sockets: Sequence[socket.socket],
        on_control: Callable[[ForwardedRequest], None],
        on_traces: Callable[[Sequence[Mapping[str, Any]]], None] = lambda _: None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.parted: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[End] = loop.create_future()
        self.last_words: LoopStats | None = None
        self.has: set[tuple[str, int]] = set()  # The versions that it has loaded.
        self._options = options
        self._sockets = sockets
        self._on_control = on_control
        self._on_traces = on_traces
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._cut_off: CutOff | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        fds = [sock.fileno() for sock in self._sockets]
        with theirs:
            try:
                # -P: what lies in the current directory must not be taken for a library.
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno()), str(self.number)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *fds),
                )
            except OSError as error:  # Too many processes, or files.
                ours.close()
                raise Error("UNAVAILABLE", f"no process: {error.strerror}") from None
        self._channel = await Channel.open(ours)
        self._reading = asyncio.create_task(self._read(self._channel))
        pid = self._process.pid
        logs.info(
            f"loop {self.number} is process {pid}",
            {"event": "loop_started", "loop": self.number, "pid": pid},
        )
        await self._ask("start", pickle.dumps(self._options), sockets=fds, parent=os.getpid())

    async def accept(self) -> None:
        await self._ask("accept")

    async def snapshot(self) -> LoopStats:
        return LoopStats.from_json((await self._ask("stats")).fields)

    async def debug(self, limit: int) -> dict[str, Any]:
        shown: dict[str, Any] = (await self._ask("debug", limit=limit)).fields["debug"]
        pid = self._process.pid if self._process else 0
        return {"pid": pid, **shown}

    async def load(self, job: bytes, version: tuple[str, int]) -> Message:
        """Load what a pickled job says; what it found. Errors: Error, with the reason."""
        answer = await self._ask("load", job)
        if "code" in answer.fields:
            raise Error(answer.fields["code"], answer.fields["message"])
        self.has.add(version)
        return answer

    async def publish(self, version: tuple[str, int]) -> None:
        await self._ask("publish", version=version)

    def discard(self, version: tuple[str, int]) -> None:
        """Forget what was loaded last and not published; what is served under that number stays."""
        if self._channel is not None:
            self._channel.send("discard", version=version)

    def drop(self, version: tuple[str, int]) -> asyncio.Future[Message]:
        """Forget a version, served or not; what is in flight finishes. The answer comes when
        nothing of it is left."""
        self.has.discard(version)
        return self._begin("drop", version=version)

    def begin_route(
        self, name: str, labels: dict[str, int], default: int | None
    ) -> asyncio.Future[Message]:
        """Have requests for labels of a model, or for its default, find what they should."""
        return self._begin("route", name=name, labels=labels, default=default)

    def configure(self, settings: LoopSettings) -> asyncio.Future[Message]:
        return self._begin("configure", **settings.to_json())

    def begin_drain(self) -> None:
        if self._channel is not None:
            self._channel.send("drain")
        else:
            self.kill()

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._reading is None and not self.ended.done():  # Else that one hears of its end.
            self.ended.set_result(End("no start"))
            self._part()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def _ask(self, kind: str, body: bytes = b"", **fields: Any) -> Message:
        """Send a question and await its answer. Errors: Error when the child ended instead."""
        return await self._begin(kind, body, **fields)

    def _begin(self, kind: str, body: bytes = b"", **fields: Any) -> asyncio.Future[Message]:
        """As _ask(); it is sent here and now. Nobody need await the answer."""
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        number = next(self._ids)

        def settle(_: asyncio.Future[Message]) -> None:
            self._waiting.pop(number, None)
            if not answer.cancelled():
                answer.exception()  # Else asyncio complains of those that nobody looked at.

        answer.add_done_callback(settle)
        if self._channel is None or self.ended.done():
            answer.set_exception(self._gone())
            return answer
        self._waiting[number] = answer
        self._channel.send(kind, body, id=number, **fields)
        return answer

    async def _read(self, channel: Channel) -> None:
        while (message := await channel.receive()) is not None:
            match message.kind:
                case "answer":
                    waiting = self._waiting.get(message.id)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
                case "control":
                    self._on_control(self._forwarded(message))
                case "traces":
                    self._take_traces(message.body)
                case "leaving":
                    self._part()
                case "drained":
                    self.last_words = LoopStats.from_json(message.fields["stats"])
                    self._cut_off = CutOff(*message.fields["cut_off"])
        channel.close()
        cause = await asyncio.to_thread(self._reap)
        self.ended.set_result(End(cause, self._cut_off))
        self._part()
        for answer in list(self._waiting.values()):
            if not answer.done():
                answer.set_exception(self._gone())

    def _take_traces(self, text: bytes) -> None:
        try:
            records = [check(record) for record in json.loads(text)]
        except (ValueError, TypeError, RecursionError):
            logs.error(f"loop {self.number} sends traces that are none")
        else:
            self._on_traces(records)

    def _part(self) -> None:
        if not self.parted.done():
            self.parted.set_result(None)

    def _gone(self) -> Error:
        cause = self.ended.result().cause if self.ended.done() else "no start"
        return Error("UNAVAILABLE", f"loop {self.number} ended with {cause}")

    def _reap(self) -> str:
        """On a thread: the child has closed its end, and ends."""
        assert self._process is not None
        try:
            code = self._process.wait(_REAP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"  # A real-time signal has no name.

    def _forwarded(self, message: Message) -> ForwardedRequest:
        fields, number = message.fields, message.id

        def reply(status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
            if self._channel is not None:
                self._channel.send(
                    "reply", body, id=number, status=status, headers=[list(h) for h in headers]
                )

        return ForwardedRequest(
            fields["is_grpc"],
            fields["method"],
            fields["path"],
            fields["query"],
            [(name, value) for name, value in fields["headers"]],
            message.body,
            fields["peer"],
            fields["peer_uid"],
            fields["may_share"],
            reply,
        )
