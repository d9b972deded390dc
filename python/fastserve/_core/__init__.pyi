"""The typed face of the extension module: the one door between Python and the C++ core.

Units are in the names. Every call that can block (load, warm up, probe) releases the GIL.
"""

from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, final, overload

from numpy import ndarray

from fastserve._core.memory import RegionRegistry

class CoreError(Exception):
    """What a failed call of the core raises; `args` is (code, message).

    `code` is gRPC's canonical spelling, e.g. "NOT_FOUND". fastserve.errors turns it into
    fastserve.errors.Error.
    """

__version__: str
# The HTTP status of each code; fastserve.errors has the same table without loading the core.
HTTP_STATUS: dict[str, int]

@final
class TensorSpec:
    """A tensor a model takes or gives. `shape` has -1 where any length fits."""

    def __init__(
        self,
        name: str,
        datatype: str,
        shape: Sequence[int],
        *,
        optional: bool = False,
        labels: Sequence[str] = (),
    ) -> None:
        """`labels` are the names of an output's values, by index, for clients that ask for
        classes."""
    @property
    def name(self) -> str: ...
    @property
    def datatype(self) -> str: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def dim_names(self) -> list[str]: ...
    @property
    def optional(self) -> bool: ...

@final
class Model:
    """One opened model file: its signature and the means to run it; serves nothing yet."""

    @property
    def platform(self) -> str: ...
    @property
    def inputs(self) -> list[TensorSpec]: ...
    @property
    def outputs(self) -> list[TensorSpec]: ...
    def probe_batching(self, seed: int = 0, *, gently: bool = False) -> tuple[bool, str]:
        """Whether a row's answer is the same alone and in a batch, and a sentence that says why.

        Runs the model on random rows, alone and together; True only if every input and output has a
        dynamic first dimension and all rows agree.
        """

def open_onnxruntime(
    path: str,
    *,
    library: str,
    intra_op_threads: int = 1,
    inter_op_threads: int = 1,
    optimization: str = "all",
    spinning: bool = False,
    providers: Sequence[tuple[str, Mapping[str, str]]] = (),
    gently: bool = False,
) -> Model:
    """Open an .onnx file with the ONNX Runtime shared library at `library`; `gently`, here and
    below, on a thread of low priority, which threads of the engine would inherit for ever.

    `optimization` is one of "none", "basic", "extended", "all". Raises CoreError: NOT_FOUND for a
    file that is not there, INVALID_ARGUMENT for one that is no ONNX model, FAILED_PRECONDITION for
    a library that is missing or too old, or a provider it does not have.
    """

def open_identity(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    parameters: Mapping[str, str] = ...,
) -> Model:
    """A model whose output number i is its input number i. Parameters: delay_us, repeat."""

@final
class Servable:
    """One loaded version of a model: a scheduler and its instances."""

    def __init__(
        self,
        model: Model,
        *,
        name: str,
        version: int,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        max_batch_size: int = 0,
        max_queue_delay_ns: int = 0,
        preferred_batch_sizes: Sequence[int] = (),
        instance_count: int = 1,
        queue_depth: int = 1024,
        caller_runs: str = "auto",
        join_requests: bool = True,
    ) -> None:
        """Make the instances and their threads. `inputs` and `outputs` are as served, in any order;
        shapes include the batch dimension. max_batch_size 0: the model has no batch dimension.
        Without `join_requests` each request runs alone, however many rows it has.
        `caller_runs` is "auto" or "never". Raises CoreError INVALID_ARGUMENT when the served
        tensors do not fit the model's own."""
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    def warm_up(self, sizes: str = "powers", *, gently: bool = False) -> None:
        """Run zeros so that the first request is not the slowest and the scheduler knows what a run
        costs: at the batch sizes 1, 2, 4... and the largest for about a second ("powers"), at "all"
        however long that takes, or at "none". A model that fails on zeros is not blamed."""
    def warm_up_with(
        self,
        inputs: Sequence[tuple[str, str, Sequence[int], str | bytes]],
        *,
        rows: int = 1,
        count: int = 1,
        gently: bool = False,
    ) -> None:
        """Run a sample `count` times on each instance: for each input its name, datatype, shape of
        one row (of the whole if the model has no batch dimension), and "zeros", "random" or the
        bytes of that shape, which are repeated for each row. Raises CoreError: INVALID_ARGUMENT for
        what the model does not take, or what running it gave."""
    def end_waiting(self) -> None:
        """End the requests that wait with UNAVAILABLE; those that run are not waited for."""
    @property
    def model(self) -> Model:
        """The engine that it runs; another servable may be made of it."""
    def stats(self) -> dict[str, Any]:
        """A snapshot of the counters.

        {"success": int, "rows": int, "executions": int,
         "failure": {reason: int}         reasons: rejected, cancelled, deadline, invalid, backend
         "close_reasons": {reason: int}   why batches closed: full, preferred, idle, delay
         "batch_rows": {rows: int}        executions by batch rows
         "queue_depth": int, "caller_runs": int,
         "instances": int
         "load": float                    0 to 1, their time spent running in about the last second
         "expected_wait_ns": int          of a request that comes now; 0 while nothing is known
         "receive_ns", "queue_ns", "stage_ns", "run_ns", "finish_ns", "send_ns",
         "request_ns": histogram}         the phases in order, and queue to answer as a whole
        histogram = {"buckets": [(upper_limit_ns or None, count)], "sum_ns": int, "count": int},
        counts not cumulative, upper limits inclusive. stage, run and finish have one entry an
        execution, the others one a request.
        """

@final
class ServingMap:
    """Which versions are served now. Requests look up here; the control plane publishes here."""

    def __init__(self) -> None: ...
    def publish(self, servable: Servable) -> Departure | None:
        """Serve it. A version of that name and number that is there already is replaced; it goes
        as one that is retired."""
    def route(self, name: str, labels: dict[str, int], default: int | None) -> None:
        """Which versions of a model are found by what labels, and which by none (the highest one,
        without or until it is served), from now on and all at once. CoreError INVALID_ARGUMENT."""
    def retire(self, name: str, version: int) -> Departure:
        """Stop finding it; what is in flight finishes. CoreError NOT_FOUND if it is not there."""

@final
class Departure:
    """Tells when a servable is gone, with its threads and its engine's memory. Any thread."""

    @property
    def is_gone(self) -> bool: ...
    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it is gone by then. Without the GIL; a signal's handler may raise."""

def reap(timeout_s: float) -> bool:
    """Wait until every servable that nobody needs any more is destroyed; whether it was in time.
    That happens on a thread of the core's. In the child of a fork nothing is waited for."""

@final
class ControlRequest:
    """A request that is not an inference: answered by Python. Exactly one respond() each."""

    @property
    def is_grpc(self) -> bool:
        """Whether `body` is the message of the RPC `path`. Its answer is a message, with the
        headers grpc-status and, for an error, grpc-message (percent-encoded)."""
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...  # Percent-decoded.
    @property
    def query(self) -> str: ...  # As received, without the question mark.
    @property
    def peer(self) -> str: ...  # "127.0.0.1:5312"; "unix" without an address; "" when it has left.
    @property
    def peer_uid(self) -> int: ...  # Of a program on a Unix socket, else -1.
    @property
    def may_share(self) -> bool: ...  # Whether it comes straight from a program on this machine.
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    @property
    def body(self) -> bytes: ...
    def respond(
        self, status: int, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Answer. Content-Length and Connection are added. Call on the gateway's loop thread:
        on another one it is FAILED_PRECONDITION.

        HEAD is answered with the body that GET would get: only its length is sent. Does nothing
        when the connection is gone by now.
        """

@final
class Gateway:
    """What the connections of one event loop share: limits, completions, end-of-iteration work."""

    def __init__(
        self,
        serving_map: ServingMap,
        loop: AbstractEventLoop,
        on_control: Callable[[ControlRequest], None],
        *,
        body_bytes_max: int = 64 << 20,
        in_flight_bytes_max: int = 1 << 30,
        connections_max: int = 10_000,
        head_timeout_ns: int = 30_000_000_000,
        body_timeout_ns: int = 60_000_000_000,
        idle_timeout_ns: int = 120_000_000_000,
        connections_per_client_max: int = 0,
        streams_per_connection_max: int = 256,
        keepalive_ns: int = 30_000_000_000,
        connection_age_ns: int = 0,
        drain_grace_ns: int = 1_000_000_000,
        access_log: bool = False,
        cors_origins: Sequence[str] = (),
        regions: RegionRegistry | None = None,
    ) -> None:
        """The body time-out is between two reads. on_control must not raise. It also gets inference
        requests for models and versions that are not served: only Python knows why they are not.

        connections_per_client_max counts by IP address and leaves Unix sockets alone; 0: no limit.
        drain_grace_ns is how long connections without a request stay open after begin_drain().
        cors_origins: the pages that may read answers, or "*".
        """
    @property
    def fd(self) -> int:
        """An eventfd, readable when completions wait: loop.add_reader(fd, gateway.drain)."""
    def drain(self) -> None: ...
    def sweep(self) -> int:
        """Close the connections whose time is up (call about once a second); how many are open."""
    def trim_memory(self) -> int:
        """Give back the memory that is kept for the next requests, here and in the models that the
        serving map has; how many bytes that was."""
    def begin_drain(self) -> None:
        """From now on answers close their connection, and idle connections are closed when their
        grace is over; the gateway's own timer sees to that. It is done when none is left."""
    @property
    def connections(self) -> int: ...
    @property
    def in_flight(self) -> int:
        """Requests received and not yet answered in full, and those that the engine still runs
        though nobody waits for them any more."""
    def stats(self) -> dict[str, int]:
        """requests, connections_opened, connections_closed, bytes_in, bytes_out, in_flight_bytes,
        responses_<status> for each HTTP status sent, access_records_dropped,
        trace_records_dropped, rejected_per_client,
        results_dropped (answered with 504 while the model ran), slab_bytes, slab_bytes_free, slabs;
        closes_<reason>: client, idle, head_timeout, body_timeout, protocol_error, limit, drain,
        write_stalled, error. Any thread."""
    def debug(self, limit: int = 100) -> dict[str, Any]:
        """What is in flight: at most `limit` requests, oldest first. On the gateway's loop thread.

        {"in_flight": [{"model": str, "version": str, "id": str, "peer": str,
                        "phase": "receive" | "model" | "control", "age_ns": int,
                        "deadline_in_ns": int | None, "body_bytes": int}],
         "abandoned": int  with the scheduler, but nobody waits for them any more
         "connections": int, "connections_by_state": {state: int},
         "memory": {"slab_bytes": int, "slab_bytes_free": int, "in_flight_bytes": int,
                    "heap_bytes": int, "heap_bytes_free": int}}
        The heap is the C library's, of the whole process.
        states: idle, head, body, busy, lingering, closed.
        """
    def take_access_records(self) -> list[dict[str, Any]]:
        """The access records since the last call (bounded; oldest dropped, counted in stats()).

        Keys: time_ns (CLOCK_REALTIME), peer, method, path, status, grpc_status (a code's name, ""
        for what is no RPC), model, version, id, bytes_in, bytes_out, batch_rows, receive_ns,
        queue_ns, stage_ns, run_ns, finish_ns, send_ns, total_ns. The phases do not overlap:
        together they are at most the total.
        """
    def trace(self, of_all: int, of_models: Mapping[str, int]) -> None:
        """From now on record one of so many inferences: of a model that is named as often as it is
        said there, of the others together one of `of_all`; 0 is none. On the gateway's thread."""
    def take_trace_records(self) -> list[dict[str, Any]]:
        """Of the inferences that were chosen; otherwise as take_access_records()."""

class Connection:
    """The native half of a connection: mix into asyncio.BufferedProtocol.

    class Connection(_core.Connection, asyncio.BufferedProtocol): __slots__ = ()
    """

    def __init__(self, gateway: Gateway) -> None: ...

# These two are names for the reader alone: the module has none of them.
Answer = dict[str, ndarray[Any, Any]]
Seconds = float

@final
class Buffer:
    """Bytes of the core, with the buffer protocol; the base of arrays in an Answer."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Caller:
    """Requests to one model from Python of the same process; any thread. May be subclassed.

    `inputs` is a mapping of names to values, or the value alone where the model has one input. An
    array that is C-contiguous, aligned and in native byte order is not copied, nor is what has a
    buffer or __dlpack__ (on the CPU): do not write to it before the answer is there. Lists, tuples
    and numbers are converted to the model's dtype, and an array of another dtype is refused. Bytes
    without a format take the model's shape, which may leave one dimension open. BYTES: str and
    bytes, in lists or arrays of dtype object, S or U. BF16: ml_dtypes.bfloat16, or uint16.

    An answer's arrays are views of the engine's memory; those that alias an input are read-only.
    BYTES come as arrays of bytes objects, BF16 as uint16 where ml_dtypes is not installed.

    `timeout` is in seconds, and the request's deadline: it is not begun after it, and who waits
    gets DEADLINE_EXCEEDED then, unless it runs on the thread that waits.

    Failures raise error(code, message): NOT_FOUND for a model that is not served, INVALID_ARGUMENT
    for a request that does not fit it, FAILED_PRECONDITION in a child of a fork. Arguments that are
    none raise TypeError or ValueError.
    """

    @overload
    def __init__(
        self,
        serving_map: ServingMap,
        name: str,
        version: str = "",
        *,
        error: type[Exception] = CoreError,
    ) -> None:
        """`version` "" is the highest that is served at each call."""
    @overload
    def __init__(self, caller: Caller, /) -> None:
        """Another of the same: end_calls ends all of them."""
    def infer(
        self, inputs: Any, outputs: Sequence[str] | None = None, *, timeout: Seconds | None = None
    ) -> Answer:
        """Run the model on this thread if it is idle, else wait; without the GIL either way.
        A signal's handler is run between runs, and what it raises gives the request up."""
    def submit(
        self, inputs: Any, outputs: Sequence[str] | None = None, *, timeout: Seconds | None = None
    ) -> Future:
        """Return at once. Only a request that does not fit the model raises here."""
    def ainfer(
        self, inputs: Any, outputs: Sequence[str] | None = None, *, timeout: Seconds | None = None
    ) -> Awaitable[Answer]:
        """A future of the running asyncio loop; as submit. What one iteration of the loop submits
        is gathered: at its end cheap models run there, threads are woken for others. Cancelling
        whoever awaits it cancels the request."""

def end_calls(caller: Caller, code: str, message: str) -> None:
    """From now on every call of it, and of those made of it, raises error(code, message)."""

@final
class Future:
    """The answer of a submitted request, as a concurrent.futures.Future has it; any thread.
    Dropping it does not cancel the request."""

    def result(self, timeout: Seconds | None = None) -> Answer:
        """Without a timeout this thread runs the model if it is idle. TimeoutError leaves the
        request alone; a cancelled one raises concurrent.futures.CancelledError."""
    def exception(self, timeout: Seconds | None = None) -> BaseException | None: ...
    def done(self) -> bool: ...
    def cancel(self) -> bool:
        """End the request if no run has begun; whether it is cancelled."""
    def cancelled(self) -> bool: ...
    def add_done_callback(self, fn: Callable[[Future], object], /) -> None:
        """Call fn(self) on a thread for all callbacks; here and now if it is done."""
    def __await__(self) -> Generator[Any, None, Answer]:
        """In asyncio; it costs two wake-ups more than ainfer."""
