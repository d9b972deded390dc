"""A server follows another on one port, again and again, and no client notices."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.python.server.conftest import Running, add_identity

TAKE_OVERS = 10
REQUESTS_EACH = 250  # At least, between two of them.
RATE_HZ = 200  # Of each kind of client.
KEEP_ALIVE_CLIENTS = 8


def request(value: float, *, close: bool) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [2], "data": [value, -value]}
    body = json.dumps({"inputs": [tensor]}).encode()
    end = "Connection: close\r\n" if close else ""
    head = (
        f"POST /v2/models/plain/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{end}"
    )
    return head.encode() + b"\r\n" + body


class Clients:
    """Ask at times that do not depend on the answers; count what went wrong."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.right = 0
        self.wrong: list[str] = []
        self.reconnects = 0
        self._next = 0
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def _value(self) -> float:
        self._next += 1
        return self._next + 0.5

    def _check(self, kind: str, value: float, status: bytes, body: bytes) -> None:
        if b" 200 " not in status or json.loads(body)["outputs"][0]["data"] != [value, -value]:
            self.wrong.append(f"{kind}: {status!r} {body[:200]!r}")
        else:
            self.right += 1

    async def _once(self) -> None:
        """A connection for one request."""
        value = self._value()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(request(value, close=True))
            answer = await reader.read()
            writer.close()
            head, _, body = answer.partition(b"\r\n\r\n")
            self._check("new", value, head.split(b"\r\n")[0], body)
        except Exception as error:  # noqa: BLE001 Whatever it is, it is counted.
            self.wrong.append(f"new: {error!r}")

    async def _stay(self, period_s: float) -> None:
        """One connection for many requests, until the server says that it closes it."""
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while not self._over.is_set():
            value = self._value()
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(request(value, close=False))
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(
                    line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line
                )
                body = await reader.readexactly(int(fields[b"content-length"]))
                self._check("keep-alive", value, head.split(b"\r\n")[0], body)
                if fields.get(b"connection") == b"close":
                    writer.close()
                    reader = writer = None
                    self.reconnects += 1
            except Exception as error:  # noqa: BLE001 As above.
                self.wrong.append(f"keep-alive: {error!r}")
                reader = writer = None
            await asyncio.sleep(period_s)
        if writer is not None:
            writer.close()

    async def _new_ones(self) -> None:
        due_s = time.monotonic()
        while not self._over.is_set():
            task = asyncio.create_task(self._once())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            due_s += 1 / RATE_HZ
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        period_s = KEEP_ALIVE_CLIENTS / RATE_HZ
        async with asyncio.TaskGroup() as group:
            group.create_task(self._new_ones())
            for _ in range(KEEP_ALIVE_CLIENTS):
                group.create_task(self._stay(period_s))
            try:
                yield
            finally:
                self._over.set()
        await asyncio.gather(*self._tasks)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        free: int = sock.getsockname()[1]
        return free


# Loops on either side, of either kind, and more or fewer than there are sockets.
SHAPES = (
    ("--loops", "1"),
    ("--loops", "2", "--loop-kind", "process"),
    ("--loops", "3", "--loop-kind", "thread"),
    ("--loops", "1"),
    ("--loops", "2", "--loop-kind", "thread"),
)


def test_ten_take_overs_in_a_row_fail_no_request(start, repository, port):
    add_identity(repository, "plain")
    shared = (repository, "--port", str(port), "--reuse-port")
    servers: list[Running] = [start(*shared, *SHAPES[1])]
    servers[0].await_log("is serving at")

    def follow(number: int) -> None:
        new = start(*shared, *SHAPES[number % len(SHAPES)])
        new.await_log("is serving at")
        old = servers[-1]
        servers.append(new)
        assert old.end() == 0, old.log()

    async def act() -> Clients:
        clients = Clients(port)
        async with clients.asking():
            for number in range(TAKE_OVERS):
                await asyncio.to_thread(follow, number)
                while clients.right < REQUESTS_EACH * (number + 1) and not clients.wrong:
                    await asyncio.sleep(0.01)
        return clients

    clients = asyncio.run(act())
    kinds = Counter(wrong.split(":")[0] for wrong in clients.wrong)
    assert not clients.wrong, (kinds, clients.right, clients.wrong[:10])
    assert clients.reconnects >= TAKE_OVERS  # The connections that stayed were moved, too.
    assert servers[-1].end() == 0


# Its successor loads for a second: the first serves until it has done.
def test_a_server_that_is_told_to_end_serves_until_the_next_one_can(start, repository, port):
    add_identity(repository, "plain")
    shared = (repository, "--port", str(port), "--reuse-port")
    first: Running = start(*shared)
    first.await_log("is serving at")
    add_identity(repository, "slow", delay_us=1_000_000)
    second: Running = start(*shared, awaits_socket=False)
    first.await_log("another server shares the port")
    first.process.terminate()
    first.await_log("draining")
    assert first.get("/v2/health/ready").status == 200
    assert first.process.wait(30) == 0
    second.port = first.port
    assert second.get("/v2/models/slow/ready").status == 200
    assert "another server takes over" in first.log()
    assert second.end() == 0


def test_a_server_that_can_serve_nothing_takes_nothing_over(start, repository, fastserve, port):
    add_identity(repository, "plain")
    shared = ("--port", str(port), "--reuse-port")
    first: Running = start(repository, *shared).await_ready()
    broken = repository.parent / "broken" / "model" / "1"
    broken.mkdir(parents=True)
    (broken / "model.onnx").write_bytes(b"this is no model")
    done = fastserve("run", repository.parent / "broken", *shared)
    assert done.returncode == 1
    assert "nothing to serve: the server before this one goes on" in done.stderr
    assert first.get("/v2/models/plain/ready").status == 200
    assert first.end() == 0


def test_without_another_server_the_port_is_closed_at_once(start, repository, port):
    add_identity(repository, "slow", delay_us=1_000_000)
    server: Running = start(repository, "--port", str(port), "--reuse-port").await_ready()
    server.process.terminate()
    server.await_log("drained in")
    assert server.process.wait(30) == 0
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0
