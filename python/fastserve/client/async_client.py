"""AsyncClient: a client of a server, for asyncio."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from fastserve.client import requests
from fastserve.client.calls import Calls, Seconds
from fastserve.client.io.event_loop import LoopIo
from fastserve.client.requests import Classes, Parameters, RequestSequence
from fastserve.client.results import InferResult, ModelMetadata, ModelState, ServerMetadata
from fastserve.client.retries import Retries
from fastserve.client.servers import Balance
from fastserve.client.settings import ClientSettings


class AsyncClient:
    """Calls to one server, or to one of several that serve the same models.

        async with AsyncClient("grpc://127.0.0.1:8000") as client:
            results = await asyncio.gather(*(client.infer("digits", {"image": x}) for x in images))

    `url`: http://host:port (also https, grpc, grpcs), http+unix:/path or grpc+unix:/path of a
    socket, or a list of them. `balance`: "pick_first" asks the first that is well, "round_robin"
    each in turn. `timeout`: seconds for a call that names none; None for ever. `retries`: of calls
    that found no server, an overloaded one or one that ends. `headers` go with every request, over
    gRPC as metadata. `tls`: instead of the system's trust. `binary` False sends numbers as JSON,
    for servers without the binary extension. `connections_max` to each server; further calls wait.
    An answer of more than `answer_bytes_max` is refused.

    Threads: the one of the loop that it is first used on. Over gRPC calls share connections.

    Errors: INVALID_ARGUMENT for a URL that is none, ValueError for numbers.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        timeout: Seconds | None = 60.0,
        retries: Retries | None = None,
        balance: Balance = "pick_first",
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        binary: bool = True,
        connections_max: int = 100,
        answer_bytes_max: int = 2**31 - 1,
    ) -> None:
        settings = ClientSettings(
            dict(headers or {}), tls, binary, connections_max, answer_bytes_max
        )
        self._calls = Calls(
            url,
            LoopIo(),
            settings,
            balance=balance,
            retries=retries or Retries(),
            timeout_s=timeout,
        )

    async def close(self) -> None:
        """No call begins any more. Those that run fail over gRPC, and go on over HTTP."""
        self._calls.close()

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
        return f"<fastserve.client.AsyncClient of {', '.join(self._calls.urls)}>"

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
        classes: Classes | None = None,
        parameters: Parameters | None = None,
        priority: int = 0,
        sequence: RequestSequence | None = None,
    ) -> InferResult:
        """Run the model on `inputs`, arrays by name.

        An array that is C-contiguous is not copied before it is sent; its dtype is the tensor's
        datatype, so it must be the model's: x.astype(np.float32). What has a __dlpack__ (torch, on
        the CPU), lists and numbers are taken too; str and bytes are BYTES.

        `outputs`: their names, all of them without it. `classes`: of an output by its name, the
        best so many instead of the tensor, as "value:index:label". `version` may be a label.
        `timeout` is in seconds, for all attempts and pauses together, and reaches the server's
        queue. `sequence` calls are never repeated.

        Errors: CallError with the server's code and message: INVALID_ARGUMENT for a request that
        does not fit the model, NOT_FOUND, UNAVAILABLE, RESOURCE_EXHAUSTED (overload),
        DEADLINE_EXCEEDED.
        """
        request = requests.make(
            model, inputs, outputs, version=version, id=id, classes=classes,
            parameters=parameters, priority=priority, sequence=sequence,
        )  # fmt: skip
        return await self._calls.infer(request, timeout)

    async def stream(
        self,
        model: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        version: str | int = "",
        id: str = "",
        timeout: Seconds | None = None,
        classes: Classes | None = None,
        parameters: Parameters | None = None,
        priority: int = 0,
        sequence: RequestSequence | None = None,
    ) -> AsyncGenerator[InferResult, None]:
        """The answers of a model that gives any number of them to one request, as they come.

        gRPC only. A consumer that is slow holds the server back. `timeout` is for the whole stream.
        Closing the iterator cancels what is left. Errors: as infer; UNIMPLEMENTED over HTTP.
        """
        request = requests.make(
            model, inputs, outputs, version=version, id=id, classes=classes,
            parameters=parameters, priority=priority, sequence=sequence,
        )  # fmt: skip
        async with contextlib.aclosing(self._calls.stream(request, timeout)) as results:
            async for result in results:
                yield result

    # -- The server and its models -----------------------------------------------------------

    async def is_live(self, *, timeout: Seconds | None = None) -> bool:
        """Whether the server runs."""
        return await self._calls.ask(lambda to, by: to.is_live(by), timeout)

    async def is_ready(self, *, timeout: Seconds | None = None) -> bool:
        """Whether it takes requests for what it should serve."""
        return await self._calls.ask(lambda to, by: to.is_ready(by), timeout)

    async def is_model_ready(
        self, model: str, version: str | int = "", *, timeout: Seconds | None = None
    ) -> bool:
        """Whether it serves that version, or any; False for a model that it does not know."""
        return await self._calls.ask(
            lambda to, by: to.is_model_ready(model, str(version), by), timeout
        )

    async def server_metadata(self, *, timeout: Seconds | None = None) -> ServerMetadata:
        """Its name, version and extensions of the protocol."""
        return await self._calls.ask(lambda to, by: to.server_metadata(by), timeout)

    async def model_metadata(
        self, model: str, version: str | int = "", *, timeout: Seconds | None = None
    ) -> ModelMetadata:
        """What a model takes and gives. Errors: NOT_FOUND, UNAVAILABLE."""
        return await self._calls.ask(
            lambda to, by: to.model_metadata(model, str(version), by), timeout
        )

    async def model_config(
        self, model: str, version: str | int = "", *, timeout: Seconds | None = None
    ) -> dict[str, Any]:
        """A model's configuration, spelled as Triton does."""
        return await self._calls.ask(
            lambda to, by: to.model_config(model, str(version), by), timeout
        )

    async def statistics(
        self, model: str = "", version: str | int = "", *, timeout: Seconds | None = None
    ) -> list[Any]:
        """What was counted of a model, or of all."""
        return await self._calls.ask(lambda to, by: to.statistics(model, str(version), by), timeout)

    async def models(self, *, timeout: Seconds | None = None) -> list[ModelState]:
        """Every version in the repository, and its state."""
        return await self._calls.ask(lambda to, by: to.models(by), timeout)

    async def wait_until_ready(self, model: str = "", *, timeout: Seconds = 30.0) -> None:
        """Return when the server, or that model, is ready; it need not even run yet.

        Errors: DEADLINE_EXCEEDED, with what was last wrong.
        """
        await self._calls.wait_until_ready(model, timeout)

    async def load(
        self,
        model: str,
        *,
        config: Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
        timeout: Seconds | None = None,
    ) -> None:
        """Have a model loaded, or what is new or changed of it; of several servers, on each.

        `config` is used instead of the one on disk, `files` ("1/model.onnx": content) instead of
        the model's own. Errors: as the server says; what it serves, it goes on serving.
        """
        await self._calls.ask_each(lambda to, by: to.load(model, config, files or {}, by), timeout)

    async def unload(
        self, model: str, *, dependents: bool = False, timeout: Seconds | None = None
    ) -> None:
        """Have a model served no longer; what is in flight is answered. Of several servers, on
        each."""
        await self._calls.ask_each(lambda to, by: to.unload(model, dependents, by), timeout)
