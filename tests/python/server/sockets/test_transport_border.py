"""The border between the loop and the core: what is dropped where, and what the collector sees."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import cast

import pytest

from fastserve import _core
from fastserve.server.sockets.transport import Connection


class Transport:
    """What a Connection asks of a transport that never sends anything; it holds its protocol."""

    def __init__(self) -> None:
        self.protocol: Connection | None = None
        self.written: asyncio.Future[tuple[bytes, int]] | None = None

    def write(self, data: bytes) -> None:
        if self.written is not None:
            self.written.set_result((data, threading.get_ident()))

    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool:
        return False


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def connect(gateway: _core.Gateway) -> tuple[Transport, Connection]:
    transport, connection = Transport(), Connection(gateway)
    transport.protocol = connection
    connection.connection_made(cast(asyncio.BaseTransport, transport))
    return transport, connection


def test_a_request_dropped_on_another_thread_is_answered_on_the_loops(loop):
    requests: list[_core.ControlRequest] = []
    answered = loop.create_future()

    async def ask() -> bytes:
        gateway = _core.Gateway(_core.ServingMap(), loop, requests.append)
        transport, connection = connect(gateway)
        transport.written = answered
        head = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
        memoryview(connection.get_buffer(-1))[: len(head)] = head
        connection.buffer_updated(len(head))
        dropper = threading.Thread(target=requests.clear)
        dropper.start()
        dropper.join()
        assert not answered.done()
        data, thread = await asyncio.wait_for(answered, 10)
        assert thread == threading.get_ident()
        connection.connection_lost(None)
        return data

    assert loop.run_until_complete(ask()).startswith(b"HTTP/1.1 500 ")


def test_a_connection_that_its_transport_holds_is_collected(loop):
    gateway = _core.Gateway(_core.ServingMap(), loop, lambda _: None)
    transport, connection = connect(gateway)
    gone = weakref.ref(transport)
    del transport, connection
    gc.collect()
    assert gone() is None
    assert gateway.connections == 0


def test_a_connection_that_pauses_is_not_collected(loop):
    """No loop refers to a transport that does not read; its request is under way all the same."""
    requests: list[_core.ControlRequest] = []
    gateway = _core.Gateway(_core.ServingMap(), loop, requests.append)
    transport, connection = connect(gateway)
    pipelined = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * (1 << 12)
    for begin in range(0, len(pipelined), 1 << 16):
        piece = pipelined[begin : begin + (1 << 16)]
        memoryview(connection.get_buffer(-1))[: len(piece)] = piece
        connection.buffer_updated(len(piece))
    gone = weakref.ref(transport)
    del transport, connection
    gc.collect()
    assert gone() is not None
    assert gateway.connections == 1
    while requests:
        requests.pop().respond(200, b"", ())
    # It reads again, so the loop is who would refer to it: this one does not.
    gc.collect()
    assert gone() is None
    assert gateway.connections == 0


def test_a_view_of_the_buffer_outlives_the_gateway(loop):
    transport, connection = connect(_core.Gateway(_core.ServingMap(), loop, lambda _: None))
    view = memoryview(connection.get_buffer(-1))
    del transport, connection
    gc.collect()
    view[:3] = b"abc"
    assert bytes(view[:3]) == b"abc"


def test_misuse_is_an_exception(loop):
    gateway = _core.Gateway(_core.ServingMap(), loop, lambda _: None)
    connection = Connection(gateway)
    with pytest.raises(RuntimeError, match="not connected"):
        connection.get_buffer(-1)
    with pytest.raises(RuntimeError, match="once"):
        Connection.__init__(connection, gateway)
    _, connection = connect(gateway)
    for count in (-5, -1, 1 << 20):
        with pytest.raises(ValueError, match="more bytes"):
            connection.buffer_updated(count)
