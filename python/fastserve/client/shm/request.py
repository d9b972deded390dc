"""ShmRequest: one request over shared memory, for threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from fastserve import _core
from fastserve.client.results import InferResult
from fastserve.client.shm.deadlines import Seconds, give_up_at, until
from fastserve.client.shm.prepared import Prepared, result_of


class ShmRequest(Prepared):
    """A request to one model, whose memory stays the same however often it is sent.

        with client.request("digits") as request:
            for image in images:
                request.inputs["image"][:] = image
                print(request.result()["label"])

    Arrays of a result are views of shared memory, and stay good as long as they are referred to,
    also after the client is closed; the server has the memory back afterwards. A model that hands
    an input on answers with that input's very bytes: to write to the input changes the result.

    Leaving the block, or dropping the request, cancels it if it is under way. After the server has
    gone it cannot be sent any more: make another.

    Threads: one at a time, but for cancel().
    """

    __slots__ = ()

    def send(self, *, timeout: Seconds | None = None) -> Self:
        """Hand it over without waiting for the result, which is to be there in `timeout` seconds,
        or in the request's. What came of an earlier time and was not taken is dropped.

        Errors: CallError UNAVAILABLE, FAILED_PRECONDITION while it is under way,
        RESOURCE_EXHAUSTED when 1024 requests of the client are.
        """
        deadline_ns = self._deadline(timeout)
        self._settle(deadline_ns)
        self._send(deadline_ns)
        return self

    def result(self, timeout: Seconds | None = None) -> InferResult:
        """The result, when it is there. A request that was not sent, or whose result was taken, is
        sent first, and `timeout` is as in send(); else it is how long to wait.

        Errors: CallError with the server's code and message; DEADLINE_EXCEEDED; TimeoutError when
        a request that was sent earlier has no result yet, which goes on.
        """
        if self._is_sent:
            wait_ns = 0 if timeout == 0 else until(timeout)
            answer = self._within(lambda: self._call.take(min(wait_ns, self._give_up_ns)))
            if answer is False and wait_ns < self._give_up_ns:
                raise TimeoutError(f"no result within {timeout:g} s; the request goes on")
        else:
            deadline_ns = self._deadline(timeout)
            if self._is_given_up:
                self._settle(deadline_ns)
            self._is_sent = True
            try:
                answer = self._call.ask(deadline_ns, self._give_up_ns)
            except _core.CoreError as error:
                raise self._failed(error) from None
        if answer is False:
            raise self._late()
        self._is_sent = False
        return result_of(answer)

    def stream(self, *, timeout: Seconds | None = None) -> Iterator[InferResult]:
        """Send it, and give the responses of a model that answers with any number of them, as they
        come. `timeout` is for all of them. Closing the iterator cancels what is left.
        """
        deadline_ns = self._deadline(timeout)
        self._settle(deadline_ns)
        self._send(deadline_ns, streams=True)
        try:
            while True:
                answer = self._within(lambda: self._call.take(self._give_up_ns))
                if answer is False:
                    raise self._late()
                if answer is None:
                    return
                yield InferResult(*answer, {})
        finally:
            self._leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _settle(self, deadline_ns: int) -> None:
        """Wait for the end of what was given up."""
        if not self._is_given_up:
            return
        with contextlib.suppress(_core.CoreError):  # How it ended nobody asks.
            while self._call.take(give_up_at(deadline_ns)):
                pass
        if self._call.is_under_way:
            raise self._target.link.late()
        self._is_given_up = False
