"""ShmClient: a client of a server on this machine, over shared memory, for threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from fastserve import _core
from fastserve.client.call_error import CallError
from fastserve.client.results import InferResult, ModelMetadata
from fastserve.client.shm.deadlines import Seconds, give_up_at, until
from fastserve.client.shm.links import Links, Target
from fastserve.client.shm.prepared import filled_call, new_call, result_of, target_for
from fastserve.client.shm.request import ShmRequest
from fastserve.client.shm.settings import ShmSettings, address_of
from fastserve.client.shm.signatures import Shapes

DEFAULT_ADDRESS = "@fastserve-8000"


class ShmClient:
    """Requests to the server at `address`: its --shm-socket, or the port of its HTTP.

        with ShmClient() as client:
            label = client.infer("digits", {"image": image})["label"]

    `address`: "@name" or a socket's path; a port (8000), "localhost:8000" and
    "http://localhost:8000" stand for "@fastserve-8000". `timeout`: seconds for a request that names
    none; None for ever. `segment_bytes` of memory are shared, half for requests and half for
    responses; the server may have a lower limit. `connect_timeout`: also how long a server that has
    gone is tried again. `spin`: seconds for which a thread looks for its response before it sleeps,
    while that pays; 0: never. `server_user`: the number of the user whose server it may be, other
    than this process's and root.

    It connects when it is first asked. When the server goes, requests that are under way fail with
    UNAVAILABLE; the next one connects anew, which is logged (fastserve.client.shm) and counted
    (`reconnects`).

    Threads: any, also at once; who waits does not hold the GIL. In the child of a fork make another
    client, unless it had not connected.

    Errors: INVALID_ARGUMENT for an address that is none, ValueError for numbers.
    """

    def __init__(
        self,
        address: str | int = DEFAULT_ADDRESS,
        *,
        timeout: Seconds | None = 60.0,
        segment_bytes: int = 64 << 20,
        connect_timeout: Seconds = 5.0,
        spin: Seconds = 50e-6,
        server_user: int | None = None,
    ) -> None:
        self._links = Links(
            ShmSettings(
                address_of(address),
                timeout,
                segment_bytes,
                connect_timeout,
                spin,
                server_user,
            )
        )
        self._timeout_s = timeout

    def close(self) -> None:
        """What is under way fails. Arrays of results stay good."""
        self._links.close()

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
        return f"<fastserve.client.shm.ShmClient of {self._links.settings.address}>"

    def __reduce__(self) -> Any:
        raise TypeError("a ShmClient stays in its process: make another one there")

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
        link = self._links.open(deadline_ns)
        known = self._links.known(link, model, text)
        if known is not None:
            try:
                return _ask(known, inputs, outputs, id, deadline_ns)
            except CallError as error:
                if error.code != "INVALID_ARGUMENT":
                    raise
                # It may be another model by now.
                target = self._links.describe(link, model, text, deadline_ns)
                if target.signature == known.signature:
                    raise
        else:
            target = self._links.describe(link, model, text, deadline_ns)
        return _ask(target, inputs, outputs, id, deadline_ns)

    def stream(
        self,
        model: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        version: str | int = "",
        id: str = "",
        timeout: Seconds | None = None,
    ) -> Iterator[InferResult]:
        """The answers of a model that gives any number of them to one request, as they come.

        `timeout` is for the whole stream. Closing the iterator cancels what is left. Who keeps the
        arrays keeps their memory from the server. Errors: as infer.
        """
        with self.request(
            model, outputs, version=version, id=id, timeout=timeout
        ) as request:  # fmt: skip
            for name in inputs:
                request.inputs[name] = inputs[name]
            yield from request.stream()

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
    ) -> ShmRequest:
        """A request whose inputs are written where the server reads them; to be sent any number of
        times.

        Its inputs have the model's shapes; where those leave lengths open, `batch` (1) is the
        number of rows, and `shapes` says an input's whole shape: {"image": (8, 3, 224, 224)}.
        `timeout` is in seconds, for asking what the model takes, and of each sending that names
        none.

        Errors: CallError NOT_FOUND, UNAVAILABLE, DEADLINE_EXCEEDED; INVALID_ARGUMENT for dimensions
        that the model does not have.
        """
        timeout_s = self._timeout_s if timeout is None else timeout
        deadline_ns = until(timeout_s)
        text = version if isinstance(version, str) else str(version)
        link = self._links.open(deadline_ns)
        shapes = shapes or {}
        target = target_for(self._links, link, model, text, batch, shapes)
        if target is None:
            target = self._links.describe(link, model, text, deadline_ns)
            target.signature.check_dimensions(batch, shapes)
        call = new_call(target, outputs, id)
        return ShmRequest(target, call, batch=batch, shapes=shapes, timeout_s=timeout_s)

    # -- The server and its models -----------------------------------------------------------

    def model_metadata(
        self, model: str, version: str | int = "", *, timeout: Seconds | None = None
    ) -> ModelMetadata:
        """What a model takes and gives. Errors: NOT_FOUND, UNAVAILABLE."""
        deadline_ns = until(self._timeout_s if timeout is None else timeout)
        link = self._links.open(deadline_ns)
        return self._links.describe(link, model, str(version), deadline_ns).signature.metadata

    def wait_until_ready(self, model: str = "", *, timeout: Seconds = 30.0) -> None:
        """Return when the server, or that model, can be asked; it need not even run yet.

        Errors: DEADLINE_EXCEEDED, with what was last wrong.
        """
        self._links.wait_until_ready(model, timeout)

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


def _ask(
    target: Target,
    inputs: Mapping[str, Any],
    outputs: Sequence[str] | None,
    id: str,
    deadline_ns: int,
) -> InferResult:
    call = filled_call(target, inputs, outputs, id)
    try:
        answer = call.ask(deadline_ns, give_up_at(deadline_ns))
    except _core.CoreError as error:
        raise target.failure(error) from None
    if answer is False:
        raise target.link.late()
    return result_of(answer)
