"""Accepting goes on: also when a protocol could not be made, and when descriptors were short."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from fastserve.config.options import Options
from fastserve.server.sockets import listen
from fastserve.server.sockets.acceptor import (
    RESERVED_DESCRIPTORS,
    Acceptor,
    connections_that_fit,
    with_connections_that_fit,
)

LOOPS = [uvloop.new_event_loop, asyncio.new_event_loop]
WITHIN_S = 10.0


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(b"hi")
        transport.close()


def greeted(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    make: Callable[[], asyncio.BaseProtocol],
    clients: int,
) -> list[bytes]:
    """What so many clients, one after the other, read if `make` makes the protocols."""

    async def ask(address: tuple[str, int]) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        try:
            return await asyncio.wait_for(reader.read(), WITHIN_S)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def serve() -> list[bytes]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        sock = listen.bind("127.0.0.1", 0)
        address = sock.getsockname()
        accepting = Acceptor(loop, make, sock)
        await accepting.start()
        try:
            return [await ask(address) for _ in range(clients)]
        finally:
            accepting.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(serve())


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_everybody_is_accepted(loop_factory):
    assert greeted(loop_factory, Greeter, 3) == [b"hi"] * 3


# The loops leave the socket of such a client to the collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("loop_factory", LOOPS)
def test_a_protocol_that_cannot_be_made_costs_its_own_client_alone(loop_factory):
    failures = [MemoryError(), MemoryError()]

    def make() -> Greeter:
        if failures:
            raise failures.pop()
        return Greeter()

    assert greeted(loop_factory, make, 4) == [b"", b"", b"hi", b"hi"]


def test_a_closed_acceptor_listens_no_more():
    sock = listen.bind("127.0.0.1", 0)
    address = sock.getsockname()

    async def serve() -> None:
        accepting = Acceptor(asyncio.get_running_loop(), Greeter, sock)
        await accepting.start()
        accepting.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


@pytest.fixture
def limit(monkeypatch) -> dict[str, tuple[int, int]]:
    """The limit of open files, which a test may set at will."""
    now = {"files": (0, 0)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: now["files"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: now.update(files=new))
    return now


def test_a_limit_that_is_high_enough_is_left_alone(limit):
    limit["files"] = (2000, 4000)
    assert connections_that_fit(1000) == 1000
    assert limit["files"] == (2000, 4000)


@pytest.mark.parametrize("hard", [4000, resource.RLIM_INFINITY])
def test_the_soft_limit_is_raised_as_far_as_needed(limit, hard):
    limit["files"] = (256, hard)
    assert connections_that_fit(1000) == 1000
    assert limit["files"] == (1000 + RESERVED_DESCRIPTORS, hard)


def test_without_room_for_all_there_are_fewer_and_it_is_said(limit, caplog):
    limit["files"] = (256, 512)
    assert connections_that_fit(1000) == 512 - RESERVED_DESCRIPTORS
    assert limit["files"] == (512, 512)
    assert "at most 448 connections instead of 1000" in caplog.text
    assert "ulimit -n" in caplog.text


def test_clients_over_shared_memory_have_room_where_there_may_be_any(limit):
    for options, shm in (
        (Options(shm_clients_max=10), 40),
        (Options(shm_clients_max=10, shm_socket="off"), 0),
        (Options(shm_clients_max=10, shared_memory="off"), 0),
        (Options(shm_clients_max=10, loops=2, loop_kind="process"), 0),
    ):
        limit["files"] = (512, 512)
        fitting = with_connections_that_fit(options).connections_max
        assert fitting == 512 - RESERVED_DESCRIPTORS - shm


def test_a_tiny_limit_leaves_half_to_connections(limit):
    limit["files"] = (80, 80)
    assert connections_that_fit(1000) == 40
