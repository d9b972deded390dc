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
from fastserve.client.shm.deadlines import NEVER, left_s

if TYPE_CHECKING:
    from fastserve._core.shm import ShmAnswer


class Watcher:
    def __init__(self, connection: ShmConnection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._tags = itertools.count(1)
        self._waiting: dict[int, tuple[asyncio.Future[None], int]] = {}  # And until when.
        # One timer, for the first of them: most are there long before, and cost nothing then.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = NEVER
        loop.add_reader(connection.fd, self._wake)

    def close(self) -> None:
        """Whoever waits looks once more: the connection is to be closed by then."""
        if not self._loop.is_closed():
            self._loop.remove_reader(self._connection.fd)
        if self._timer is not None:
            self._timer.cancel()
        for waiter, _ in self._waiting.values():
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
            if until_ns != NEVER and until_ns <= monotonic_ns():
                return False
            if tag in self._waiting:
                raise CallError("FAILED_PRECONDITION", "another task waits for this request")
            waiter = self._loop.create_future()
            self._waiting[tag] = waiter, until_ns
            if until_ns < self._timer_ns:
                self._set_timer(until_ns)
            try:
                await waiter
            finally:
                del self._waiting[tag]
            answer = call.take(0)
        return answer

    def _wake(self) -> None:
        for tag in self._connection.take_ready():
            waiting = self._waiting.get(tag)
            if waiting is not None:
                _end(waiting[0])

    def _set_timer(self, until_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = until_ns
        self._timer = self._loop.call_later(left_s(until_ns), self._wake_late)

    def _wake_late(self) -> None:
        self._timer, self._timer_ns = None, NEVER
        now_ns = monotonic_ns()
        next_ns = NEVER
        for waiter, until_ns in self._waiting.values():
            if until_ns <= now_ns:
                _end(waiter)
            else:
                next_ns = min(next_ns, until_ns)
        if next_ns != NEVER:
            self._set_timer(next_ns)


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
