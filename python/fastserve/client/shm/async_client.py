"""AsyncShmClient: a client of a server on this machine, over shared memory, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from fastserve import _core
from fastserve.client.call_error import CallError, too_late
from fastserve.client.results import InferResult, ModelMetadata
from fastserve.client.shm.async_request import AsyncShmRequest
from fastserve.client.shm.client import DEFAULT_ADDRESS
from fastserve.client.shm.deadlines import NEVER, Seconds, give_up_at, left_s, until
from fastserve.client.shm.links import Link, Links, Target
from fastserve.client.shm.prepared import filled_call, new_call, result_of, target_for
from fastserve.client.shm.settings import ShmSettings, address_of
from fastserve.client.shm.signatures import Shapes
from fastserve.client.shm.watcher import Watcher


class AsyncShmClient:
    """Requests to the server at `address`: its --shm-socket, or the port of its HTTP.

        async with AsyncShmClient() as client:
            results = await asyncio.gather(*(client.infer("digits", {"image": x}) for x in images))

    `address`: "@name" or a socket's path; a port (8000), "localhost:8000" and
    "http://localhost:8000" stand for "@fastserve-8000". `timeout`: seconds for a request that names
    none; None for ever. `segment_bytes` of memory are shared, half for requests and half for
    responses; the server may have a lower limit. `connect_timeout`: also how long a server that has
    gone is tried again. `server_user`: the number of the user whose server it may be, other than
    this process's and root.

    It connects when it is first asked. When the server goes, requests that are under way fail with
    UNAVAILABLE; the next one connects anew, which is logged (fastserve.client.shm) and counted
    (`reconnects`).

    Threads: the one of the loop that it is first used on, which waits for responses by itself. To
    connect, and to ask for the first time what a model takes, it uses a thread of the loop's
    executor. In the child of a fork make another client.

    Errors: INVALID_ARGUMENT for an address that is none, ValueError for numbers.
    """

    def __init__(
        self,
        address: str | int = DEFAULT_ADDRESS,
        *,
        timeout: Seconds | None = 60.0,
        segment_bytes: int = 64 << 20,
        connect_timeout: Seconds = 5.0,
        server_user: int | None = None,
    ) -> None:
        self._links = Links(
            ShmSettings(
                address_of(address), timeout, segment_bytes, connect_timeout, 0, server_user
            )
        )
        self._timeout_s = timeout
        self._connecting = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watcher: Watcher | None = None
        self._watched: Link | None = None

    async def close(self) -> None:
        """What is under way fails. Arrays of results stay good."""
        self._links.close()
        if self._watcher is not None:
            self._watcher.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<fastserve.client.shm.AsyncShmClient of {self._links.settings.address}>"

    def __reduce__(self) -> Any:
        raise TypeError("an AsyncShmClient stays in its process: make another one there")

    # -- Inference ---------------------------------------------------------------------------

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        version: str | int = "",
        id: str = "",
        timeout: Seconds | None = None,
    ) -> InferResult:
        """Run the model on `inputs`, arrays by name, which are copied to shared memory.

        An array's dtype must be the model's: x.astype(np.float32). What has a __dlpack__ (torch, on
        the CPU) is taken too; lists and numbers become the model's type; BYTES are str and bytes.
        `outputs`: their names, all of them without it. `version` may be a label. `timeout` is in
        seconds, for connecting and answering together, and reaches the server's queue.

        Errors: CallError with the server's code and message: INVALID_ARGUMENT for a request that
        does not fit the model, NOT_FOUND, UNAVAILABLE, RESOURCE_EXHAUSTED (overload, or no room in
        shared memory), DEADLINE_EXCEEDED.
        """
        deadline_ns = until(self._timeout_s if timeout is None else timeout)
        text = version if isinstance(version, str) else str(version)
        link, watcher = await self._open(deadline_ns)
        known = self._links.known(link, model, text)
        if known is not None:
            try:
                return await _ask(watcher, known, inputs, outputs, id, deadline_ns)
            except CallError as error:
                if error.code != "INVALID_ARGUMENT":
                    raise
                # It may be another model by now.
                target = await self._describe(link, model, text, deadline_ns)
                if target.signature == known.signature:
                    raise
        else:
            target = await self._describe(link, model, text, deadline_ns)
        return await _ask(watcher, target, inputs, outputs, id, deadline_ns)

    async def stream(
        self,
        model: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        version: str | int = "",
        id: str = "",
        timeout: Seconds | None = None,
    ) -> AsyncGenerator[InferResult, None]:
        """The answers of a model that gives any number of them to one request, as they come.

        `timeout` is for the whole stream. Closing the generator cancels what is left. Who keeps the
        arrays keeps their memory from the server. Errors: as infer.
        """
        asked = self.request(model, outputs, version=version, id=id, timeout=timeout)
        async with asked as request:
            for name in inputs:
                request.inputs[name] = inputs[name]
            async for result in request.stream():
                yield result

    def request(
        self,
        model: str,
        outputs: Sequence[str] | None = None,
        *,
        version: str | int = "",
        id: str = "",
        batch: int | None = None,
        shapes: Shapes | None = None,
        timeout: Seconds | None = None,
    ) -> Requested:
        """A request whose inputs are written where the server reads them; to be sent any number of
        times: `async with client.request(...) as request`, or `request = await ...`.

        Its inputs have the model's shapes; where those leave lengths open, `batch` (1) is the
        number of rows, and `shapes` says an input's whole shape: {"image": (8, 3, 224, 224)}.
        `timeout` is in seconds, for asking what the model takes, and of each sending that names
        none.

        Errors: CallError NOT_FOUND, UNAVAILABLE, DEADLINE_EXCEEDED; INVALID_ARGUMENT for dimensions
        that the model does not have.
        """
        timeout_s = self._timeout_s if timeout is None else timeout
        return Requested(
            self._request(model, outputs, str(version), id, batch, shapes or {}, timeout_s)
        )

    async def _request(
        self,
        model: str,
        outputs: Sequence[str] | None,
        version: str,
        id: str,
        batch: int | None,
        shapes: Shapes,
        timeout_s: Seconds | None,
    ) -> AsyncShmRequest:
        deadline_ns = until(timeout_s)
        link, watcher = await self._open(deadline_ns)
        target = target_for(self._links, link, model, version, batch, shapes)
        if target is None:
            target = await self._describe(link, model, version, deadline_ns)
            target.signature.check_dimensions(batch, shapes)
        call = new_call(target, outputs, id)
        return AsyncShmRequest(
            watcher, target, call, batch=batch, shapes=shapes, timeout_s=timeout_s
        )

    # -- The server and its models -----------------------------------------------------------

    async def model_metadata(
        self, model: str, version: str | int = "", *, timeout: Seconds | None = None
    ) -> ModelMetadata:
        """What a model takes and gives. Errors: NOT_FOUND, UNAVAILABLE."""
        deadline_ns = until(self._timeout_s if timeout is None else timeout)
        link, _ = await self._open(deadline_ns)
        return (await self._describe(link, model, str(version), deadline_ns)).signature.metadata

    async def wait_until_ready(self, model: str = "", *, timeout: Seconds = 30.0) -> None:
        """Return when the server, or that model, can be asked; it need not even run yet.

        Errors: DEADLINE_EXCEEDED, with what was last wrong.
        """
        await asyncio.to_thread(self._links.wait_until_ready, model, timeout)

    # -- The connection ----------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self._links.is_connected

    @property
    def reconnects(self) -> int:
        """How often it has connected anew."""
        return self._links.reconnects

    @property
    def server_pid(self) -> int:
        """The process that it is, or was, connected to; 0 before that."""
        return self._links.server_pid

    @property
    def segment_bytes(self) -> int:
        """Of the memory that is shared; 0 before it connects."""
        return self._links.segment_bytes

    @property
    def bytes_in_use(self) -> int:
        """Of the half for requests: those that there are, and inputs that results refer to."""
        return self._links.bytes_in_use

    async def _open(self, deadline_ns: int) -> tuple[Link, Watcher]:
        link = self._links.current()
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                raise CallError("FAILED_PRECONDITION", "the client belongs to another event loop")
            self._loop = loop
        if link is None or link is not self._watched or self._watcher is None:
            return await self._connect(loop, deadline_ns)
        return link, self._watcher

    async def _connect(
        self, loop: asyncio.AbstractEventLoop, deadline_ns: int
    ) -> tuple[Link, Watcher]:
        try:
            async with (
                asyncio.timeout(None if deadline_ns == NEVER else left_s(deadline_ns)),
                self._connecting,
            ):
                link = self._links.current()
                if link is None:
                    link = await asyncio.to_thread(self._links.connect, deadline_ns)
        except TimeoutError:
            raise too_late(self._links.settings.address) from None
        if link is not self._watched or self._watcher is None:
            if self._watcher is not None:
                self._watcher.close()
            self._watcher = Watcher(link.connection, loop)
            self._watched = link
        return link, self._watcher

    async def _describe(self, link: Link, model: str, version: str, deadline_ns: int) -> Target:
        return await asyncio.to_thread(self._links.describe, link, model, version, deadline_ns)


class Requested:
    """A request that is being prepared: to be awaited, or entered."""

    def __init__(self, making: Any) -> None:
        self._making = making
        self._made: AsyncShmRequest | None = None

    def __await__(self) -> Generator[Any, None, AsyncShmRequest]:
        made: AsyncShmRequest = yield from self._making.__await__()
        return made

    async def __aenter__(self) -> AsyncShmRequest:
        self._made = await self._making
        return self._made

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._made is not None:
            self._made.close()


async def _ask(
    watcher: Watcher,
    target: Target,
    inputs: Mapping[str, Any],
    outputs: Sequence[str] | None,
    id: str,
    deadline_ns: int,
) -> InferResult:
    call = filled_call(target, inputs, outputs, id)
    tag = watcher.new_tag()
    try:
        call.send(deadline_ns)
        answer = await watcher.take(call, tag, give_up_at(deadline_ns), is_there=call.watch(tag))
    except _core.CoreError as error:
        raise target.failure(error) from None
    if answer is False:
        raise target.link.late()
    return result_of(answer)
