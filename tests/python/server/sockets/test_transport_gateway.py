"""What the gateway asks of a real event loop: its timer, who the peers are, and who may answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from fastserve import _core
from fastserve.server.sockets.transport import Connection

WITHIN_S = 10.0
BODY = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}
).encode()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine on a loop of each kind."""

    def run_on_loop(coroutine: Any) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(asyncio.wait_for(coroutine, WITHIN_S))

    return run_on_loop


def slow_map(delay_us: int) -> _core.ServingMap:
    specs = [_core.TensorSpec("x", "FP32", [-1])], [_core.TensorSpec("y", "FP32", [-1])]
    model = _core.open_identity(*specs, parameters={"delay_us": str(delay_us)})
    serving_map = _core.ServingMap()
    serving_map.publish(
        _core.Servable(
            model, name="m", version=1, inputs=specs[0], outputs=specs[1], caller_runs="never"
        )
    )
    return serving_map


@asynccontextmanager
async def serving(
    serving_map: _core.ServingMap | None = None,
    on_control: Callable[[_core.ControlRequest], None] = lambda request: request.respond(200),
    path: Path | None = None,
    **options: Any,
) -> AsyncIterator[tuple[_core.Gateway, Callable[[], Any]]]:
    """A gateway that listens, and what opens a connection to it."""
    loop = asyncio.get_running_loop()
    gateway = _core.Gateway(serving_map or _core.ServingMap(), loop, on_control, **options)
    loop.add_reader(gateway.fd, gateway.drain)
    writers: list[asyncio.StreamWriter] = []
    if path is None:
        server = await loop.create_server(lambda: Connection(gateway), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
    else:
        server = await loop.create_unix_server(lambda: Connection(gateway), str(path))

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await (
            asyncio.open_connection("127.0.0.1", port)
            if path is None
            else asyncio.open_unix_connection(str(path))
        )
        writers.append(writer)
        return reader, writer

    try:
        yield gateway, connect
    finally:
        for writer in writers:
            writer.close()
        server.close()
        while gateway.connections or gateway.in_flight:
            await asyncio.sleep(0.001)
        loop.remove_reader(gateway.fd)


def post(*fields: str) -> bytes:
    lines = ("POST /v2/models/m/infer HTTP/1.1", "Host: a", f"Content-Length: {len(BODY)}", *fields)
    return "\r\n".join((*lines, "", "")).encode() + BODY


GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


async def head_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), 0
    )
    await reader.readexactly(length)
    return head


def test_a_deadline_is_answered_by_the_loops_timer_while_the_model_runs(run):
    async def ask() -> None:
        async with serving(slow_map(delay_us=1_000_000)) as (gateway, connect):
            reader, writer = await connect()
            writer.write(post("Inference-Timeout-Ms: 300"))
            head = await head_of(reader)
            assert head.startswith(b"HTTP/1.1 504 "), head
            assert gateway.in_flight == 1, "the engine is still at it"
            assert gateway.debug()["abandoned"] == 1
            writer.write(GET)
            assert (await head_of(reader)).startswith(b"HTTP/1.1 200 ")
            assert gateway.stats()["results_dropped"] == 1

    run(ask())


def test_server_timing_is_told_to_who_asks(run):
    async def ask() -> None:
        async with serving(slow_map(delay_us=2_000)) as (_, connect):
            reader, writer = await connect()
            writer.write(post("Fastserve-Timing: 1"))
            head = (await head_of(reader)).decode()
            field = next(line for line in head.split("\r\n") if line.startswith("Server-Timing: "))
            phases = dict(part.split(";dur=") for part in field[15:].split(", "))
            assert list(phases) == ["receive", "queue", "stage", "run", "finish", "send"]
            assert float(phases["run"]) >= 2

    run(ask())


def test_an_address_has_as_many_connections_as_it_may(run):
    async def ask() -> None:
        async with serving(connections_per_client_max=2) as (gateway, connect):
            kept = [await connect() for _ in range(2)]
            for reader, writer in kept:
                writer.write(GET)
                assert (await head_of(reader)).startswith(b"HTTP/1.1 200 ")
            told = [await connect() for _ in range(2)]
            for reader, _ in told:
                head = await head_of(reader)
                assert head.startswith(b"HTTP/1.1 429 ")
                assert b"\r\nRetry-After: 1\r\n" in head
                assert b"\r\nConnection: close\r\n" in head
            reader, _ = await connect()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readexactly(1)
            assert gateway.stats()["rejected_per_client"] == 3

    run(ask())


def test_clients_of_a_unix_socket_are_not_counted(run, tmp_path):
    async def ask() -> None:
        listening = serving(path=tmp_path / "s", connections_per_client_max=1)
        async with listening as (gateway, connect):
            for _ in range(3):
                reader, writer = await connect()
                writer.write(GET)
                assert (await head_of(reader)).startswith(b"HTTP/1.1 200 ")
            assert gateway.connections == 3

    run(ask())


def test_debug_tells_what_is_in_flight_and_from_whom(run):
    async def ask() -> None:
        requests: list[_core.ControlRequest] = []
        arrived = asyncio.Event()

        def on_control(request: _core.ControlRequest) -> None:
            requests.append(request)
            arrived.set()

        async with serving(on_control=on_control) as (gateway, connect):
            reader, writer = await connect()
            writer.write(GET)
            await arrived.wait()
            snapshot = gateway.debug(limit=5)
            assert snapshot["connections"] == 1
            assert snapshot["connections_by_state"] == {
                "idle": 0, "head": 0, "body": 0, "busy": 1, "lingering": 0, "closed": 0
            }  # fmt: skip
            (only,) = snapshot["in_flight"]
            host, port = writer.get_extra_info("sockname")
            assert only["peer"] == f"{host}:{port}"
            assert only["phase"] == "control"
            assert only["deadline_in_ns"] is None
            assert only["age_ns"] > 0
            memory = snapshot["memory"]
            assert memory.keys() - {"heap_bytes", "heap_bytes_free"} == {
                "slab_bytes",
                "slab_bytes_free",
                "in_flight_bytes",
            }
            assert 0 <= memory["heap_bytes_free"] <= memory["heap_bytes"]
            requests.pop().respond(200)
            assert (await head_of(reader)).startswith(b"HTTP/1.1 200 ")

    run(ask())


def test_an_answer_from_another_thread_is_refused(run):
    async def ask() -> None:
        requests: list[_core.ControlRequest] = []
        arrived = asyncio.Event()

        def on_control(request: _core.ControlRequest) -> None:
            requests.append(request)
            arrived.set()

        async with serving(on_control=on_control) as (_, connect):
            reader, writer = await connect()
            writer.write(GET)
            await arrived.wait()
            with pytest.raises(_core.CoreError, match="thread of its event loop") as raised:
                await asyncio.to_thread(requests[0].respond, 200)
            assert raised.value.args[0] == "FAILED_PRECONDITION"
            requests.pop().respond(204)
            assert (await head_of(reader)).startswith(b"HTTP/1.1 204 ")

    run(ask())


def test_a_drain_gives_idle_connections_time_and_then_ends_on_its_own(run):
    async def ask() -> None:
        async with serving(drain_grace_ns=100_000_000) as (gateway, connect):
            asks, asks_writer = await connect()
            idles, idles_writer = await connect()
            for reader, writer in ((asks, asks_writer), (idles, idles_writer)):
                writer.write(GET)
                assert b"Connection: close" not in await head_of(reader)
            gateway.begin_drain()
            assert gateway.connections == 2
            asks_writer.write(GET)
            assert b"\r\nConnection: close\r\n" in await head_of(asks)
            assert await idles.read() == b""
            while gateway.connections:
                await asyncio.sleep(0.001)
            assert gateway.stats()["closes_drain"] == 2

    run(ask())


def test_a_client_that_leaves_makes_room_while_the_model_is_busy(run):
    async def ask() -> None:
        async with serving(slow_map(delay_us=300_000)) as (gateway, connect):
            _, running = await connect()
            running.write(post())
            while gateway.in_flight < 1:
                await asyncio.sleep(0.001)
            _, leaving = await connect()
            leaving.write(post())
            while gateway.in_flight < 2:
                await asyncio.sleep(0.001)
            leaving.close()
            while gateway.in_flight == 2:
                await asyncio.sleep(0.001)
            assert gateway.in_flight == 1, "the first one still runs"

    run(ask())


def test_a_gateway_that_goes_takes_its_timer_along():
    loop = asyncio.new_event_loop()
    try:
        gateway = _core.Gateway(slow_map(delay_us=1), loop, lambda _: None)
        gateway.begin_drain()
        connection = Connection(gateway)

        class Transport:
            def write(self, data: bytes) -> None: ...

        connection.connection_made(Transport())  # type: ignore[arg-type]
        timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        assert len(timers) == 1
        del connection, gateway
        assert timers[0].cancelled()
    finally:
        loop.close()
