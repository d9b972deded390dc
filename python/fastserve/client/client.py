"""Client: a client of a server, for threads."""

from __future__ import annotations

import ssl
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from fastserve.client import requests
from fastserve.client.calls import Calls, Seconds
from fastserve.client.io.blocking import BlockingIo
from fastserve.client.requests import Classes, Parameters, RequestSequence
from fastserve.client.results import InferResult, ModelMetadata, ModelState, ServerMetadata
from fastserve.client.retries import Retries
from fastserve.client.servers import Balance
from fastserve.client.settings import ClientSettings

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never suspends: those of blocking connections."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a blocking call suspended")


class Client:
    """Calls to one server, or to one of several that serve the same models.

        with Client("http://127.0.0.1:8000") as client:
            label = client.infer("digits", {"image": image})["label"]

    `url`: http://host:port (also https, grpc, grpcs), http+unix:/path or grpc+unix:/path of a
    socket, or a list of them. `balance`: "pick_first" asks the first that is well, "round_robin"
    each in turn. `timeout`: seconds for a call that names none; None for ever. `retries`: of calls
    that found no server, an overloaded one or one that ends. `headers` go with every request, over
    gRPC as metadata. `tls`: instead of the system's trust. `binary` False sends numbers as JSON,
    for servers without the binary extension. `connections_max` to each server; further calls wait.
    An answer of more than `answer_bytes_max` is refused.

    Threads: any, also at once: each call has a connection of its own while it lasts, kept for the
    next. After a fork the child opens its own.

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
            BlockingIo(),
            settings,
            balance=balance,
            retries=retries or Retries(),
            timeout_s=timeout,
        )

    def close(self) -> None:
        """No call begins any more; connections of those that run are closed after them."""
        self._calls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<fastserve.client.Client of {', '.join(self._calls.urls)}>"

    # -- Inference ---------------------------------------------------------------------------

    def infer(
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
        return run(self._calls.infer(request, timeout))

    def stream(
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
    ) -> Iterator[InferResult]:
        """The answers of a model that gives any number of them to one request, as they come.

        gRPC only. A consumer that is slow holds the server back. `timeout` is for the whole stream.
        Closing the iterator cancels what is left. Errors: as infer; UNIMPLEMENTED over HTTP.
        """
        request = requests.make(
            model, inputs, outputs, version=version, id=id, classes=classes,
            parameters=parameters, priority=priority, sequence=sequence,
        )  # fmt: skip
        results = self._calls.stream(request, timeout)
        try:
            while True:
                try:
                    yield run(results.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            run(results.aclose())

    # -- The server and its models -----------------------------------------------------------

    def is_live(self, *, timeout: Seconds | None = None) -> bool:
        """Whether the server runs."""
        return run(self._calls.ask(lambda to, by: to.is_live(by), timeout))

    def is_ready(self, *, timeout: Seconds | None = None) -> bool:
        """Whether it takes requests for what it should serve."""
        return run(self._calls.ask(lambda to, by: to.is_ready(by), timeout))

    def is_model_ready(
        self, model: str, version: str | int = "", *, timeout: Seconds | None = None
    ) -> bool:
        """Whether it serves that version, or any; False for a model that it does not know."""
        return run(
            self._calls.ask(lambda to, by: to.is_model_ready(model, str(version), by), timeout)
        )

    def server_metadata(self, *, timeout: Seconds | None = None) -> ServerMetadata:
        """Its name, version and extensions of the protocol."""
        return run(self._calls.ask(lambda to, by: to.server_metadata(by), timeout))

    def model_metadata(
        self, model: str, version: str | int = "", *, timeout: Seconds | None = None
    ) -> ModelMetadata:
        """What a model takes and gives. Errors: NOT_FOUND, UNAVAILABLE."""
        return run(
            self._calls.ask(lambda to, by: to.model_metadata(model, str(version), by), timeout)
        )

    def model_config(
        self, model: str, version: str | int = "", *, timeout: Seconds | None = None
    ) -> dict[str, Any]:
        """A model's configuration, spelled as Triton does."""
        return run(
            self._calls.ask(lambda to, by: to.model_config(model, str(version), by), timeout)
        )

    def statistics(
        self, model: str = "", version: str | int = "", *, timeout: Seconds | None = None
    ) -> list[Any]:
        """What was counted of a model, or of all."""
        return run(self._calls.ask(lambda to, by: to.statistics(model, str(version), by), timeout))

    def models(self, *, timeout: Seconds | None = None) -> list[ModelState]:
        """Every version in the repository, and its state."""
        return run(self._calls.ask(lambda to, by: to.models(by), timeout))

    def wait_until_ready(self, model: str = "", *, timeout: Seconds = 30.0) -> None:
        """Return when the server, or that model, is ready; it need not even run yet.

        Errors: DEADLINE_EXCEEDED, with what was last wrong.
        """
        run(self._calls.wait_until_ready(model, timeout))

    def load(
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
        run(self._calls.ask_each(lambda to, by: to.load(model, config, files or {}, by), timeout))

    def unload(
        self, model: str, *, dependents: bool = False, timeout: Seconds | None = None
    ) -> None:
        """Have a model served no longer; what is in flight is answered. Of several servers, on
        each."""
        run(self._calls.ask_each(lambda to, by: to.unload(model, dependents, by), timeout))
