"""AsyncShmRequest: one request over shared memory, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from fastserve import _core
from fastserve.client.results import InferResult
from fastserve.client.shm.deadlines import Seconds, give_up_at, until
from fastserve.client.shm.prepared import Prepared, result_of
from fastserve.client.shm.watcher import Watcher

if TYPE_CHECKING:
    from fastserve._core.shm import ShmAnswer


class AsyncShmRequest(Prepared):
    """A request to one model, whose memory stays the same however often it is sent.

        async with client.request("digits") as request:
            for image in images:
                request.inputs["image"][:] = image
                print((await request.result())["label"])

    Arrays of a result are views of shared memory, and stay good as long as they are referred to,
    also after the client is closed; the server has the memory back afterwards. A model that hands
    an input on answers with that input's very bytes: to write to the input changes the result.

    Leaving the block, or dropping the request, cancels it if it is under way, and so does
    cancelling the task that awaits its result. After the server has gone it cannot be sent any
    more: make another.

    Threads: the loop's.
    """

    __slots__ = ("_is_there", "_tag", "_watcher")

    def __init__(self, watcher: Watcher, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._watcher = watcher
        self._tag = watcher.new_tag()
        self._is_there = True  # Perhaps: take looks.

    def send(self, *, timeout: Seconds | None = None) -> Self:
        """Hand it over without waiting for the result, which is to be there in `timeout` seconds,
        or in the request's. What came of an earlier time and was not taken is dropped.

        Errors: CallError UNAVAILABLE, FAILED_PRECONDITION while it is under way,
        RESOURCE_EXHAUSTED when 1024 requests of the client are.
        """
        self._send(self._deadline(timeout))
        self._is_given_up = False
        self._is_there = self._call.watch(self._tag)
        return self

    async def result(self, timeout: Seconds | None = None) -> InferResult:
        """The result, when it is there. A request that was not sent, or whose result was taken, is
        sent first, and `timeout` is as in send(); else it is how long to wait.

        Errors: CallError with the server's code and message; DEADLINE_EXCEEDED; TimeoutError when
        a request that was sent earlier has no result yet, which goes on.
        """
        if self._is_sent:
            wait_ns = 0 if timeout == 0 else until(timeout)
        else:
            await self._settle(timeout)
            self.send(timeout=timeout)
            wait_ns = self._give_up_ns
        answer = await self._take(min(wait_ns, self._give_up_ns))
        if answer is False:
            if wait_ns < self._give_up_ns:
                raise TimeoutError(f"no result within {timeout:g} s; the request goes on")
            raise self._late()
        self._is_sent = False
        return result_of(answer)

    async def stream(self, *, timeout: Seconds | None = None) -> AsyncGenerator[InferResult, None]:
        """Send it, and give the responses of a model that answers with any number of them, as they
        come. `timeout` is for all of them. Closing the generator cancels what is left.
        """
        await self._settle(timeout)
        self._send(self._deadline(timeout), streams=True)
        self._is_there = self._call.watch(self._tag)
        try:
            while True:
                answer = await self._take(self._give_up_ns)
                if answer is False:
                    raise self._late()
                if answer is None:
                    return
                yield InferResult(*answer, {})
        finally:
            self._leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def _take(self, until_ns: int) -> ShmAnswer | Literal[False] | None:
        try:
            return await self._watcher.take(
                self._call, self._tag, until_ns, is_there=self._is_there
            )
        except _core.CoreError as error:
            raise self._failed(error) from None
        except asyncio.CancelledError:
            self._leave()
            raise
        finally:
            self._is_there = True  # As far as is known.

    async def _settle(self, timeout_s: Seconds | None) -> None:
        """Wait for the end of what was given up."""
        if not self._is_given_up:
            return
        deadline_ns = give_up_at(self._deadline(timeout_s))
        with contextlib.suppress(_core.CoreError):  # How it ended nobody asks.
            while await self._watcher.take(self._call, self._tag, deadline_ns):
                pass
        if self._call.is_under_way:
            raise self._target.link.late()
