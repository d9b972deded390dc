"""The typed face of the memory that clients on this machine share with the server."""

from typing import final

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
