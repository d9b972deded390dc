"""RemoteModels: loads a version in every loop that has engines of its own.

To the Manager it is both the loader and the map of what is served: a version is READY when every
loop has it, and one loop that cannot load it fails it. The parent itself never opens a model: what
a file can do to an engine, it does to a child.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from fastserve.config.completion import ServedConfig
from fastserve.config.model_config import ModelConfig, Tensor
from fastserve.control.loading.loader import Loaded, Loader
from fastserve.control.repository.model_repository import ModelSource
from fastserve.errors import Error
from fastserve.server import logs
from fastserve.server.loops.channel import Message
from fastserve.server.loops.fleet import Fleet
from fastserve.server.loops.process_loop import ProcessLoop

T = TypeVar("T")
Version = tuple[str, int]
Route = tuple[dict[str, int], int | None]  # A model's labels, and its default version.


@dataclass(frozen=True)
class RemoteServable:
    """A version in all loops; its numbers come with the loops' own."""

    name: str
    version: int
    job: bytes
    read_stats: Callable[[], Any]

    def stats(self) -> dict[str, Any]:
        """What the loops said last; empty before they were asked."""
        stats: dict[str, Any] = self.read_stats().servables.get((self.name, self.version), {})
        return stats


class RemoteDeparture:
    """Of a version that leaves all loops. Threads: any."""

    def __init__(self) -> None:
        self._gone = threading.Event()

    @property
    def is_gone(self) -> bool:
        return self._gone.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        return self._gone.wait(timeout_s)

    def tell(self) -> None:
        self._gone.set()


class RemoteModels:
    """Threads: load() and publish() block, on any thread but the loop's; the rest on any."""

    def __init__(
        self, fleet: Fleet[ProcessLoop], loader: Loader, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._fleet = fleet
        self._loader = loader
        self._loop = loop
        # What every loop must have: the pickled job, and what it was served as the first time.
        self._wanted: dict[Version, tuple[bytes, ServedConfig]] = {}
        self._candidates: dict[Version, ServedConfig] = {}
        self._routes: dict[str, Route] = {}

    # -- As the Manager's loader and map -----------------------------------------------------

    def read_config(self, source: ModelSource) -> ModelConfig:
        return self._loader.read_config(source)

    def load(
        self,
        source: ModelSource,
        version: int,
        config: ModelConfig,
        previous: Loaded | None = None,  # noqa: ARG002 Each loop has its own.
    ) -> Loaded:
        """Load it everywhere; each loop knows itself what it has of it already.

        Errors: Error, with the reason of the first loop that failed.
        """
        job = pickle.dumps((source, version, config))
        answers = self._wait(self._load_everywhere((source.name, version), job))
        first = answers[0].fields
        served = _served(first["served"])
        self._candidates[(source.name, version)] = served
        return Loaded(
            source.name,
            version,
            first["platform"],
            config,
            served,
            RemoteServable(source.name, version, job, self._fleet.tally.total),
            max(answer.fields["load_ns"] for answer in answers),
        )

    def publish(self, servable: RemoteServable) -> None:
        self._wait(self._publish(servable))

    def retire(self, name: str, version: int) -> RemoteDeparture:
        departure = RemoteDeparture()
        self._loop.call_soon_threadsafe(self._retire, (name, version), departure)
        return departure

    def route(self, name: str, labels: dict[str, int], default: int | None) -> None:
        self._wait(self._route(name, (labels, default)))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # -- On the loop -------------------------------------------------------------------------

    async def prepare(self, member: ProcessLoop) -> None:
        """Give a loop that was just started what the others have. Errors: Error."""
        while missing := [version for version in self._wanted if version not in member.has]:
            for version in missing:
                wanted = self._wanted.get(version)
                if wanted is not None:
                    await self._give(member, version, *wanted)
        for name, route in self._routes.items():
            member.begin_route(name, *route)

    async def _give(
        self, member: ProcessLoop, version: Version, job: bytes, served: ServedConfig
    ) -> None:
        answer = await member.load(job, version)
        if _served(answer.fields["served"]) != served:
            logs.error(
                f"{version[0]} version {version[1]} is another than the one that was loaded at"
                f" first: its file was changed; loop {member.number} serves the new one"
            )
        await member.publish(version)

    async def _load_everywhere(self, version: Version, job: bytes) -> list[Message]:
        await self._fleet.settle()
        members = self._fleet.running()
        if not members:
            raise Error("UNAVAILABLE", "no loop is running that could load it")
        results = await asyncio.gather(
            *(member.load(job, version) for member in members), return_exceptions=True
        )
        failed = next((result for result in results if isinstance(result, BaseException)), None)
        if failed is None:
            return [result for result in results if isinstance(result, Message)]
        is_served = version in self._wanted  # As it was before: that goes on.
        for member in members:
            if is_served:
                member.discard(version)
            else:
                member.drop(version)
        raise failed

    async def _publish(self, servable: RemoteServable) -> None:
        version = (servable.name, servable.version)
        served = self._candidates.pop(version)
        self._wanted[version] = (servable.job, served)
        for member in self._fleet.running():
            try:
                if version in member.has:
                    await member.publish(version)
                else:  # It was started after the others had loaded it.
                    await self._give(member, version, servable.job, served)
            except Error as error:
                # One that ended is given it when it comes back; one that cannot load it must.
                logs.error(f"loop {member.number}: {error.message}")
                member.kill()

    async def _route(self, name: str, route: Route) -> None:
        """Returns when every loop sends requests there."""
        if self._routes.get(name) == route:
            return
        self._routes[name] = route
        if route == ({}, None):
            del self._routes[name]
        answers = [member.begin_route(name, *route) for member in self._fleet.running()]
        # One that ended meanwhile is told when it comes back.
        await asyncio.gather(*answers, return_exceptions=True)

    def _retire(self, version: Version, departure: RemoteDeparture) -> None:
        self._wanted.pop(version, None)
        ends = [member.drop(version) for member in self._fleet.running()]
        everywhere = asyncio.gather(*ends, return_exceptions=True)
        everywhere.add_done_callback(lambda _: departure.tell())


def _served(value: dict[str, Any]) -> ServedConfig:
    fields = {
        **value,
        "inputs": tuple(_tensor(item) for item in value["inputs"]),
        "outputs": tuple(_tensor(item) for item in value["outputs"]),
        "preferred_batch_sizes": tuple(value["preferred_batch_sizes"]),
        "warnings": tuple(value["warnings"]),
    }
    return ServedConfig(**fields)


def _tensor(value: dict[str, Any]) -> Tensor:
    return Tensor(
        value["name"],
        value["datatype"],
        tuple(value["shape"]),
        tuple(value["dim_names"]),
        value["optional"],
    )
