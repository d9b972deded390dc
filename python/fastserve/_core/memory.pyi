"""The typed face of the heap, and of the memory that clients on this machine share with us."""

from typing import final

from fastserve._core import ServingMap

def limit_heaps(count: int) -> None:
    """Threads that allocate for the first time from now on share heaps of the C library once there
    are so many. Any thread."""

def trim_heap() -> None:
    """Give the free pages of the C library's heap back to the system: about a millisecond, in which
    other threads wait to allocate. Releases the GIL. Any thread."""

@final
class RegionRegistry:
    """Regions of POSIX shared memory, by the names that requests refer to them by; any thread.

    Failures raise CoreError: ALREADY_EXISTS, NOT_FOUND, INVALID_ARGUMENT, PERMISSION_DENIED and
    RESOURCE_EXHAUSTED.
    """

    def __init__(self, *, regions_max: int = 1024) -> None: ...
    def register(
        self, name: str, key: str, offset: int, byte_size: int, client_uid: int = -1
    ) -> None:
        """Map `byte_size` bytes of the object `key` from `offset` on. `client_uid`: the user who
        asks, who must be able to read and write the object, too; -1: this process's own."""
    def unregister(self, name: str) -> None:
        """Forget a region, if there is one; requests in flight keep its memory to their end."""
    def unregister_all(self) -> None: ...
    def regions(self) -> list[tuple[str, str, int, int]]:
        """(name, key, offset, byte_size), by name."""
    def stats(self) -> dict[str, int]:
        """regions, bytes; retired: unregistered, and still mapped; poisoned: of those that were
        mapped, how many a client has taken away."""

@final
class ShmListener:
    """Serves clients on this machine that connect to `address` and then speak over a segment of
    shared memory, each on a thread of the core; any thread.

    `address` is "@" and an abstract name, or a path. `segment_bytes_max` is of one client. Failures
    raise CoreError: ALREADY_EXISTS where somebody listens; PERMISSION_DENIED, NOT_FOUND and
    RESOURCE_EXHAUSTED as the system says; INVALID_ARGUMENT. One that is dropped is stopped.
    """

    def __init__(
        self,
        serving_map: ServingMap,
        address: str,
        *,
        clients_max: int = 64,
        segment_bytes_max: int = 1073741824,
        spin_ns: int = 50000,
        is_loading: bool = False,
    ) -> None: ...
    def end_loading(self) -> None:
        """All models are there: until then one that is not is UNAVAILABLE, not NOT_FOUND."""
    def begin_drain(self) -> None:
        """No new clients, no new requests; the address is free for another server."""
    def stop(self) -> None:
        """End all sessions, and wait for their threads; what is under way is cancelled."""
    @property
    def in_flight(self) -> int:
        """Requests that are not answered yet."""
    def stats(self) -> dict[str, int]:
        """clients, in_flight, segment_bytes (of all clients); since the start clients_opened,
        clients_closed, clients_refused, requests, responses, violations (clients that broke the
        protocol), and ends_OK and the like: requests by how they ended, those codes that there
        were."""
