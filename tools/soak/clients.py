"""The soak's clients: each knows what becomes of every request that it sent.

A request is lost if its connection was intact and no answer came, or if more came than one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.attacks.raw_http import LIVE, head
from tests.attacks.test_mutations import STATUS_LINE, mutate, seeds
from tests.served import HOST, Answer
from tools.soak.requests import REFUSALS, Asked, Requests

ANSWER_WITHIN_S = 30.0
REMEMBERED_MAX = 20
LAST = head("GET /v2/health/live HTTP/1.1", "Host: x", "Connection: close")


@dataclass
class Ledger:
    """What became of everything that was sent."""

    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    right: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def count(self, asked: Asked, answer: Answer) -> None:
        self.statuses[answer.status] += 1
        if answer.status in asked.allowed:
            return
        try:
            asked.check(answer)
            self.right += 1
        except (AssertionError, ValueError, KeyError) as error:
            self.remember(self.wrong, f"{error}: {answer.status} {answer.body[:200]!r}")

    @staticmethod
    def remember(where: list[str], what: str) -> None:
        """Enough to look into; the number is in the report either way."""
        where.append(what[:500] if len(where) < REMEMBERED_MAX else "")


class Peer:
    """One connection, read strictly."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @staticmethod
    async def connect(port: int) -> Peer:
        return Peer(*await asyncio.open_connection(HOST, port))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def read(self) -> Answer:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            pairs = [line.partition(":") for line in lines[1:] if line]
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            body = await self._reader.readexactly(int(headers["content-length"]))
        return Answer(int(lines[0].split(" ")[1]), headers, body)

    async def read_to_end(self, within_s: float = ANSWER_WITHIN_S) -> bytes:
        async with asyncio.timeout(within_s):
            return await self._reader.read()

    def end_sending(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def close(self, *, with_reset: bool = False) -> None:
        if with_reset:
            sock = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class Clients:
    """All kinds of them, for one server."""

    def __init__(self, port: int, requests: Requests, chance: random.Random) -> None:
        self.ledger = Ledger()
        self._port = port
        self.requests = requests
        self._chance = chance
        self._mutants = seeds()
        self._corpus: Sequence[bytes] = []

    def replay(self, corpus: Sequence[bytes]) -> None:
        """What the fuzzers have found goes over the wire, too."""
        self._corpus = corpus

    async def session(self, asked: Sequence[Asked], *, pipelined: bool, gap_s: float) -> None:
        """These requests on one connection; then nothing may be left on it."""
        answered = 0
        try:
            peer = await Peer.connect(self._port)
            try:
                if pipelined:
                    sending = asyncio.create_task(peer.send(b"".join(one.sent for one in asked)))
                for one in asked:
                    if not pipelined:
                        await asyncio.sleep(gap_s * 2 * self._chance.random())
                        await peer.send(one.sent)
                    self.ledger.count(one, await peer.read())
                    answered += 1
                if pipelined:
                    await sending
                await peer.send(LAST)
                last = await peer.read_to_end()
                if not last.startswith(b"HTTP/1.1 200 ") or last.count(b"HTTP/1.1 ") != 1:
                    self.ledger.remember(self.ledger.lost, f"too much was answered: {last[:200]!r}")
            finally:
                await peer.close()
        except (OSError, EOFError, TimeoutError) as error:
            left = len(asked) - answered
            for _ in range(max(left, 1)):
                self.ledger.remember(self.ledger.lost, f"{left} of a session: {error!r}")
        self.ledger.kinds["pipelines" if pipelined else "sessions"] += 1

    async def overload(self, seconds: float, rate_per_s: float, connections: int) -> None:
        """The slow model, asked in closed loops that offer more than it can do."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + seconds

        async def ask() -> None:
            while loop.time() < end_s:
                asked = [self._slow() for _ in range(10)]
                await self.session(asked, pipelined=False, gap_s=connections / rate_per_s)

        await asyncio.gather(*(ask() for _ in range(connections)))
        self.ledger.kinds["overloads"] += 1

    def _slow(self) -> Asked:
        """Every third one has a deadline, which may be met or not."""
        number = self.requests.next_number()
        if number % 3:
            asked = self.requests.small_json(number, "slow")
            return Asked(asked.sent, asked.check, frozenset(REFUSALS))
        timeout_us = self._chance.choice((1_000, 50_000, 500_000))
        asked = self.requests.small_json(number, "slow", timeout=timeout_us)
        return Asked(asked.sent, asked.check, frozenset({*REFUSALS, 504}))

    async def garbage(self) -> None:
        """Noise, mutants and what fuzzers found: anything but a 500, a hang or no HTTP."""
        kind = self._chance.randrange(3)
        data = self._chance.randbytes(self._chance.randrange(1, 2000))
        if kind == 1:
            data = mutate(self._chance, self._chance.choice(self._mutants))
        elif kind == 2 and self._corpus:
            data = self._chance.choice(self._corpus)
        with contextlib.suppress(OSError):
            peer = await Peer.connect(self._port)
            try:
                await peer.send(data)
                peer.end_sending()
                received = await peer.read_to_end()
                found = [int(status) for status in STATUS_LINE.findall(received)]
                is_http2 = data.startswith(b"PRI * HTTP/2.0")  # Answered in kind.
                if received and not is_http2 and not received.startswith(b"HTTP/1.1 "):
                    self.ledger.remember(self.ledger.wrong, f"{data[:100]!r}: {received[:100]!r}")
                if any(status == 500 for status in found):
                    self.ledger.remember(self.ledger.wrong, f"500 for {data[:200]!r}")
            except TimeoutError:
                self.ledger.remember(self.ledger.lost, f"no end after {data[:200]!r}")
            finally:
                await peer.close()
        self.ledger.kinds["garbage"] += 1

    async def leaver(self) -> None:
        """Sends some of a request, or all, and leaves without its answer."""
        sent = self._chance.choice((self.requests.any().sent, self._slow().sent, LIVE * 5))
        with contextlib.suppress(OSError):
            peer = await Peer.connect(self._port)
            await peer.send(sent[: self._chance.randrange(1, len(sent) + 1)])
            await asyncio.sleep(self._chance.choice((0, 0.005, 0.05)))
            await peer.close(with_reset=self._chance.random() < 0.5)
        self.ledger.kinds["leavers"] += 1

    async def dawdler(self) -> None:
        """A request in drips, or answers that are read late."""
        asked = self.requests.small_json(self.requests.next_number())
        try:
            peer = await Peer.connect(self._port)
            try:
                step = max(1, len(asked.sent) // 20)
                for begin in range(0, len(asked.sent), step):
                    await peer.send(asked.sent[begin : begin + step])
                    await asyncio.sleep(0.1)
                await asyncio.sleep(self._chance.random())
                self.ledger.count(asked, await peer.read())
            finally:
                await peer.close()
        except (OSError, EOFError, TimeoutError) as error:
            self.ledger.remember(self.ledger.lost, f"a dawdler: {error!r}")
        self.ledger.kinds["dawdlers"] += 1
