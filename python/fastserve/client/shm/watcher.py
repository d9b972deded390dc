"""Watcher: an event loop that waits for responses over one connection, without a thread.

    watcher = Watcher(connection, loop)
    tag = watcher.new_tag()
    call.send(deadline_ns)
    answer = await watcher.take(call, tag, until_ns, is_there=call.watch(tag))

The core tells through one descriptor, which the loop watches as long as this is not closed, that
calls have news, and their tags say which.

Threads: the loop's.
"""

from __future__ import annotations

import asyncio
import itertools
from time import monotonic_ns
from typing import TYPE_CHECKING, Literal

from fastserve._core.shm import ShmCall, ShmConnection
from fastserve.client.call_error import CallError
from fastserve.client.shm.deadlines import NEVER

if TYPE_CHECKING:
    from fastserve._core.shm import ShmAnswer


class Watcher:
    def __init__(self, connection: ShmConnection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._tags = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        loop.add_reader(connection.fd, self._wake)

    def close(self) -> None:
        """Whoever waits looks once more: the connection is to be closed by then."""
        if not self._loop.is_closed():
            self._loop.remove_reader(self._connection.fd)
        for waiter in self._waiting.values():
            _end(waiter)

    def new_tag(self) -> int:
        """By which one call at a time is watched."""
        return next(self._tags)

    async def take(
        self, call: ShmCall, tag: int, until_ns: int, *, is_there: bool = True
    ) -> ShmAnswer | Literal[False] | None:
        """As ShmCall.take, of a call that is watched; `is_there`: something may be there already.
        Errors: FAILED_PRECONDITION when another task waits for it."""
        answer = call.take(0) if is_there else False
        while answer is False:
            left_ns = until_ns - monotonic_ns()
            if left_ns <= 0:
                return False
            if tag in self._waiting:
                raise CallError("FAILED_PRECONDITION", "another task waits for this request")
            waiter = self._waiting[tag] = self._loop.create_future()
            timer = None
            if until_ns != NEVER:
                timer = self._loop.call_later(left_ns / 1e9, _end, waiter)
            try:
                await waiter
            finally:
                del self._waiting[tag]
                if timer is not None:
                    timer.cancel()
            answer = call.take(0)
        return answer

    def _wake(self) -> None:
        for tag in self._connection.take_ready():
            waiter = self._waiting.get(tag)
            if waiter is not None:
                _end(waiter)


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
