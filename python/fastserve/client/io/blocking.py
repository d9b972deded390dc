"""Blocking sockets: a connection has one call at a time, and a thread that waits for it."""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from fastserve import _core
from fastserve._core.client import GrpcSession, HttpSession
from fastserve.client.call_error import too_late
from fastserve.client.deadline import Deadline
from fastserve.client.io.connections import CONNECT_TIMEOUT_S, LOOK_AFTER_S
from fastserve.client.settings import Endpoint


def connect(to: Endpoint, deadline: Deadline) -> socket.socket:
    """Errors: OSError; DEADLINE_EXCEEDED."""
    address = to.address
    left_s = deadline.left_s()
    timeout_s = CONNECT_TIMEOUT_S if left_s is None else min(left_s, CONNECT_TIMEOUT_S)
    if address.unix_path:
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(timeout_s)
        try:
            connected.connect(address.unix_path)
        except BaseException:
            connected.close()
            raise
        return connected
    connected = socket.create_connection((address.host, address.port), timeout=timeout_s)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if to.tls is None:
        return connected
    return to.tls.wrap_socket(connected, server_hostname=address.host)


class _Connection:
    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._is_tls = isinstance(connected, ssl.SSLSocket)
        self._used_at_s = time.monotonic()

    def close(self) -> None:
        self._socket.close()

    def send_all(self, parts: list[Any], deadline: Deadline) -> None:
        self._socket.settimeout(deadline.left_s())
        if len(parts) == 1 or self._is_tls:
            for part in parts:
                self._socket.sendall(part)
            return
        views = deque(memoryview(part).cast("B") for part in parts)
        while views:
            sent = self._socket.sendmsg(views)
            while views and sent >= len(views[0]):
                sent -= len(views.popleft())
            if sent:
                views[0] = views[0][sent:]

    def receive(self, buffer: _core.Buffer, deadline: Deadline) -> int:
        self._socket.settimeout(deadline.left_s())
        try:
            return self._socket.recv_into(buffer)
        except TimeoutError:
            raise too_late() from None

    def has_been_idle(self) -> bool:
        return time.monotonic() - self._used_at_s > LOOK_AFTER_S

    def has_something(self) -> bool:
        """To be read, its end included."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def was_used(self) -> None:
        self._used_at_s = time.monotonic()


class HttpConnection(_Connection):
    def __init__(self, connected: socket.socket, session: HttpSession) -> None:
        super().__init__(connected)
        self.session = session
        self.is_new = True

    async def exchange(self, parts: list[Any], deadline: Deadline) -> None:
        self.send_all(parts, deadline)
        session = self.session
        while True:
            received = self.receive(session.buffer(), deadline)
            if received == 0:
                session.ended()
                break
            if session.received(received):
                break
        self.is_new = False

    def is_usable(self) -> bool:
        return not self.has_been_idle() or not self.has_something()


class GrpcConnection(_Connection):
    is_shared = False

    def __init__(self, connected: socket.socket, session: GrpcSession) -> None:
        super().__init__(connected)
        self.session = session

    async def send(self, parts: list[Any], deadline: Deadline) -> None:
        self.send_all(parts, deadline)

    async def flush(self, deadline: Deadline) -> None:
        parts = self.session.output()
        if parts:
            self.send_all(parts, deadline)

    async def wait(self, _: int, deadline: Deadline) -> None:
        self._receive(deadline)

    def _receive(self, deadline: Deadline) -> None:
        received = self.receive(self.session.buffer(), deadline)
        if received == 0:
            self.session.fail("the server closed the connection")
        elif self.session.received(received):  # HTTP/2 has something to say to it.
            self.send_all(self.session.output(), deadline)
        self.session.take_changed()

    def is_alive(self) -> bool:
        return self.session.takes_calls

    def is_usable(self) -> bool:
        """After a pause the server may have said that it ends, or asked whether we live."""
        try:
            while self.has_been_idle() and self.session.takes_calls and self.has_something():
                self._receive(Deadline(CONNECT_TIMEOUT_S))
        except (OSError, _core.CoreError):
            return False
        return self.session.takes_calls


class Pool:
    """Threads: any. Connections are not shared with the child of a fork."""

    def __init__(self, connect: Callable[[Deadline], Any], limit: int) -> None:
        self._connect = connect
        self._idle: deque[Any] = deque()
        self._pid = os.getpid()
        # Guards the two below; whoever finds an idle connection needs neither.
        self._changed = threading.Condition()
        self._limit = limit
        self._left = limit  # So many more may be opened.
        self._waiting = 0
        self._is_closed = False

    async def take(self, deadline: Deadline) -> Any:
        if os.getpid() != self._pid:
            self._forked()
        while True:
            connection = self._pop() or self._wait(deadline)
            if connection is None:
                return self._open(deadline)
            if connection.is_usable():
                return connection
            self.drop(connection)

    def give_back(self, connection: Any) -> None:
        if self._is_closed:
            self.drop(connection)
            return
        connection.was_used()
        self._idle.append(connection)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def drop(self, connection: Any) -> None:
        connection.close()
        self._leave()

    def close(self) -> None:
        self._is_closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        while (connection := self._pop()) is not None:
            self.drop(connection)

    def _pop(self) -> Any:
        """The one that was used last; None: there is none."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _wait(self, deadline: Deadline) -> Any:
        """A connection that became idle; None: one more may be opened."""
        with self._changed:
            self._waiting += 1
            try:
                while self._left == 0:
                    if (connection := self._pop()) is not None:
                        return connection
                    self._changed.wait(deadline.left_s())
                self._left -= 1
                return None
            finally:
                self._waiting -= 1

    def _open(self, deadline: Deadline) -> Any:
        try:
            return self._connect(deadline)
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        with self._changed:
            self._left += 1
            self._changed.notify()

    def _forked(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()  # A thread of the parent's may have held it.
        self._waiting = 0
        self._drop_idle()
        self._left = self._limit  # What the parent's threads were using is not here.


class BlockingIo:
    def http_pool(self, to: Endpoint, make_session: Callable[[], HttpSession]) -> Pool:
        return Pool(lambda by: HttpConnection(connect(to, by), make_session()), to.connections_max)

    def grpc_pool(self, to: Endpoint, make_session: Callable[[], GrpcSession]) -> Pool:
        return Pool(lambda by: GrpcConnection(connect(to, by), make_session()), to.connections_max)

    async def sleep(self, pause_s: float) -> None:
        threading.Event().wait(pause_s)
