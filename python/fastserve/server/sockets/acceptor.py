"""Acceptor: a listening socket that goes on listening, whatever becomes of an accept().

Two things stop a loop from accepting. Descriptors run out: asyncio waits a second and tries again;
uvloop closes new clients unanswered, or spins if another thread took the one descriptor that it
keeps for that. The protocol's factory raises, as it does without memory: uvloop then never accepts
again, and says nothing. So the loop is given a duplicate of the socket, and when it is to stop or
has stopped, another one later: meanwhile clients wait in the kernel's queue, which all share.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastserve.config.options import Options
from fastserve.server import logs
from fastserve.server.sockets.listen import BACKLOG

# Files of models, libraries and logs, the loop's own, and connections that are being refused.
RESERVED_DESCRIPTORS = 64
# Of a client over shared memory: its socket, its process, its segment and its bell.
_DESCRIPTORS_PER_SHM_CLIENT = 4
# Long enough to cost nothing, short enough that nobody waits for it.
RETRY_S = 0.1
# One line for all failures within this time.
_SAY_AGAIN_S = 10.0
# What stock asyncio tries in a row; it says so of each that fails, with a traceback.
_ACCEPTS_IN_A_ROW = 8
_ADVICE = "raise `ulimit -n`, or lower --max-connections"


def connections_that_fit(connections_max: int, others: int = 0) -> int:
    """How many connections the limit of open files leaves room for; `connections_max` at most.

    `others` are descriptors that clients of another kind may take. Raises the soft limit first: it
    is low for the sake of programs that use select(), which nothing here does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reserved = RESERVED_DESCRIPTORS + others
    wanted = connections_max + reserved
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections_max
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit >= wanted:
        return connections_max
    fitting = max(limit - reserved, limit // 2)
    logs.warning(
        f"at most {fitting} connections instead of {connections_max}: this process may open"
        f" {limit} files; {_ADVICE}"
    )
    return fitting


def with_connections_that_fit(options: Options) -> Options:
    """For a process that is the server's own: its limit of open files may be raised."""
    shm_clients = options.shm_clients_max if options.serves_shm else 0
    fitting = connections_that_fit(
        options.connections_max, shm_clients * _DESCRIPTORS_PER_SHM_CLIENT
    )
    return replace(options, connections_max=fitting)


class Acceptor:
    """Threads: the loop's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        make: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
    ) -> None:
        self._loop = loop
        self._make = make
        self._sock = sock
        self._server: asyncio.Server | None = None
        self._task: asyncio.Task[None] | None = None
        # The loop's own way out of a failure must not meet ours.
        self._loop_recovers = isinstance(loop, asyncio.BaseEventLoop)
        self._is_closed = False
        self._silent_until_s = 0.0

    async def start(self) -> None:
        lent = self._sock.dup()
        try:
            self._server = await self._listen(lent)
        except BaseException:
            lent.close()
            raise
        self._sock.listen(BACKLOG)  # Of the one socket that is behind all duplicates.

    async def _listen(self, sock: socket.socket) -> asyncio.Server:
        backlog = _ACCEPTS_IN_A_ROW if self._loop_recovers else BACKLOG
        # TCP_NODELAY is what both loops set on every connection they accept.
        if sock.family != socket.AF_UNIX:
            return await self._loop.create_server(self._new_protocol, sock=sock, backlog=backlog)
        # Since Python 3.13 the file would go with the first of the duplicates.
        keep_file: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        return await self._loop.create_unix_server(
            self._new_protocol, sock=sock, backlog=backlog, **keep_file
        )

    def stop(self) -> None:
        """Accept no more; what was accepted just now still becomes a connection."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
        for sock in self._server.sockets if self._server is not None else ():
            self._loop.remove_reader(sock)  # uvloop does not listen with one, nor forget.

    def close(self) -> None:
        """No connection is accepted any more; those that wait in the kernel's queue are reset."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
        if self._server is not None:
            self._server.close()
        self._sock.close()

    def check(self) -> None:
        """To be called now and then: stops accepting while there are no descriptors for it."""
        if self._task is None and not self._has_descriptors():
            self._pause()

    def _has_descriptors(self) -> bool:
        """Whether the loop's duplicate and one connection have room; says so if not."""
        try:
            first = os.dup(self._sock.fileno())
            try:
                os.close(os.dup(first))
            finally:
                os.close(first)
        except OSError as error:
            self._say(f"{os.strerror(error.errno or 0)}; {_ADVICE}")
            return False
        return True

    def _new_protocol(self) -> asyncio.BaseProtocol:
        try:
            return self._make()
        except BaseException:
            # Not now: the loop still works with the server that is to be closed.
            self._loop.call_soon(self._pause)
            raise

    def _pause(self) -> None:
        """Stops accepting, or does what follows from that, and starts again when it may be."""
        if self._is_closed or self._loop_recovers or self._task is not None:
            return
        self._task = self._loop.create_task(self._start_again())

    async def _start_again(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        while True:
            await asyncio.sleep(RETRY_S)
            with contextlib.suppress(OSError):
                if self._has_descriptors():
                    await self.start()
                    self._task = None
                    return

    def _say(self, why: str) -> None:
        now_s = self._loop.time()
        if now_s >= self._silent_until_s:
            self._silent_until_s = now_s + _SAY_AGAIN_S
            logs.warning(f"new connections fail: {why}")
