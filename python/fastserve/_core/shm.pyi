"""The typed face of what fastserve.client.shm stands on: a client's end of a channel.

Times are nanoseconds of CLOCK_MONOTONIC (time.monotonic_ns()); NEVER is none. Failures raise
CoreError.
"""

from typing import Any, Literal, TypeAlias, final

# (model, version, id, {output: array})
ShmAnswer: TypeAlias = tuple[str, str, str, dict[str, Any]]
# (name, datatype, shape, whether it may be left out); -1 in the shape where any length fits.
ShmTensor: TypeAlias = tuple[str, str, tuple[int, ...], bool]

@final
class ShmSignature:
    """What a model takes and gives, as the server described it."""

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def max_batch_size(self) -> int: ...  # 0: no batch dimension.
    @property
    def inputs(self) -> list[ShmTensor]: ...
    @property
    def outputs(self) -> list[ShmTensor]: ...

@final
class ShmCall:
    """One request, to be sent any number of times. Any thread, one at a time: who comes while
    another is in it is told FAILED_PRECONDITION, but for cancel()."""

    def input(self, name: str) -> Any:
        """Its array, a copy if it is BYTES; None if it has none yet."""
    def add_input(self, name: str, shape: tuple[int, ...], /) -> Any:
        """An array of that shape in the segment, not written to. RESOURCE_EXHAUSTED when there is
        no room; FAILED_PRECONDITION while the request is under way."""
    def assign(self, name: str, value: Any, /) -> None:
        """Copy a value there, to where the one before is if it has its type, shape and size."""
    def want(self, output: str, /) -> None: ...
    def send(self, deadline_ns: int, /) -> None: ...
    def stream(self, deadline_ns: int, /) -> None: ...
    def take(self, until_ns: int, /) -> ShmAnswer | Literal[False] | None:
        """The next response, None when there are no more, False when none came until then; 0 does
        not wait. Without the GIL; a signal's handler may raise."""
    def ask(self, deadline_ns: int, until_ns: int, /) -> ShmAnswer | Literal[False] | None:
        """send, and take."""
    def watch(self, tag: int, /) -> bool:
        """ShmConnection.take_ready() gives `tag` when there is something to take. True: there is
        now."""
    def cancel(self) -> None:
        """It ends with CANCELLED, unless it is over. Never waits."""
    @property
    def is_under_way(self) -> bool: ...

@final
class ShmConnection:
    """A channel to a server; any thread. One that is dropped is closed."""

    def __init__(
        self,
        address: str,
        *,
        segment_bytes: int = 67108864,
        connect_timeout_ns: int = 5000000000,
        spin_ns: int = 50000,
        server_user: int | None = None,
    ) -> None:
        """UNAVAILABLE when nobody listens there; PERMISSION_DENIED for a server of another user
        than this one, root and `server_user`; RESOURCE_EXHAUSTED, INVALID_ARGUMENT and
        FAILED_PRECONDITION. Releases the GIL."""
    def describe(self, model: str, version: str, deadline_ns: int) -> ShmSignature:
        """Releases the GIL; no signal ends it."""
    def new_call(self, signature: ShmSignature, version: str, id: str) -> ShmCall: ...
    def take_ready(self) -> list[int]:
        """When `fd` is readable: the tags of watched calls that have news."""
    def close(self) -> None:
        """What is under way ends with UNAVAILABLE; what was received stays. Releases the GIL."""
    @property
    def fd(self) -> int: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def server_pid(self) -> int: ...
    @property
    def segment_bytes(self) -> int: ...
    @property
    def bytes_in_use(self) -> int: ...  # Of the half that requests lie in.
