"""SharedRegions: the memory that clients on this machine have registered, for every event loop.

    regions = SharedRegions.of(options)       None, if clients may share no memory
    await regions.register(client, "in", "/my_object", 0, 4096)

A region is one of this process's, whose loops all see it, or of a process each: those are told the
whole list whenever it changes, and follow().
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fastserve import _core
from fastserve._core.memory import RegionRegistry
from fastserve.config.options import Options
from fastserve.errors import Error, from_core, one_line
from fastserve.server import logs
from fastserve.server.sockets.peer_uid import uid_of_address

# Of RegionRegistry.stats(): what each process counts for itself, since requests use them there.
_OF_USE = ("retired", "poisoned")
# Name, key, offset and size in bytes.
Region = tuple[str, str, int, int]


@dataclass(frozen=True)
class Client:
    """Who asks: whether it is a program on this machine, its address, and its user if known."""

    may_share: bool
    peer: str
    uid: int = -1


class SharedRegions:
    """Threads: any."""

    def __init__(self, registry: RegionRegistry) -> None:
        self.registry = registry

    @classmethod
    def of(cls, options: Options) -> SharedRegions | None:
        if options.shared_memory == "off":
            return None
        return cls(RegionRegistry(regions_max=options.shared_regions_max))

    async def register(
        self, client: Client, name: str, key: str, offset: int, byte_size: int
    ) -> None:
        """Errors: PERMISSION_DENIED for a client of elsewhere, or one that may not read and write
        the object; ALREADY_EXISTS; NOT_FOUND, INVALID_ARGUMENT and RESOURCE_EXHAUSTED."""
        check(client)
        # Both open files, and mapping may take long on a machine that is short of memory.
        await asyncio.to_thread(self._register, client, name, key, offset, byte_size)
        logs.info(
            one_line(
                f"shared memory: region '{name}' is {byte_size} bytes of '{key}' from {offset} on"
            ),
            {"event": "region_registered", "region": name, "key": key, "bytes": byte_size},
        )

    def _register(self, client: Client, name: str, key: str, offset: int, byte_size: int) -> None:
        uid = client.uid if client.uid >= 0 else uid_of_address(client.peer)
        if uid < 0:
            # It may have closed its connection on purpose, so that nobody can tell who it is.
            raise Error(
                "PERMISSION_DENIED",
                f"region '{name}': the client's user is not known; keep the connection open until"
                " the answer is there, or use the server's --unix-socket",
            )
        try:
            self.registry.register(name, key, offset, byte_size, uid)
        except _core.CoreError as error:
            raise from_core(error) from None

    def unregister(self, client: Client, name: str) -> None:
        """One region, or all of them without a name. Errors: PERMISSION_DENIED."""
        check(client)
        if name:
            self.registry.unregister(name)
        else:
            self.registry.unregister_all()
        which = f"region '{name}' was" if name else "all regions were"
        logs.info(
            one_line(f"shared memory: {which} unregistered"),
            {"event": "region_unregistered", "region": name},
        )

    def regions(self) -> list[Region]:
        return self.registry.regions()

    def used(self) -> dict[str, int]:
        """What happened to regions in use, for another process that has no part in it."""
        stats = self.registry.stats()
        return {f"regions_{key}": stats[key] for key in _OF_USE}

    def counted(self, gateway: Mapping[str, int]) -> dict[str, int]:
        """RegionRegistry.stats(), and with it what the loops of other processes say (used())."""
        stats = self.registry.stats()
        return {key: count + gateway.get(f"regions_{key}", 0) for key, count in stats.items()}

    def follow(self, regions: Collection[Region]) -> None:
        """Have these regions, and no others; one that cannot be had is logged."""
        wanted = set(regions)
        for region in set(self.regions()) - wanted:
            self.registry.unregister(region[0])
        for region in sorted(wanted - set(self.regions())):
            try:
                self.registry.register(*region)
            except _core.CoreError as error:
                logs.error(f"shared memory: region '{region[0]}': {from_core(error).message}")


def check(client: Client) -> None:
    """Errors: PERMISSION_DENIED, unless the client may share memory."""
    if not client.may_share:
        raise Error(
            "PERMISSION_DENIED",
            "shared memory is for programs on the server's machine that connect to it directly, by"
            " a Unix socket or a loopback address",
        )
