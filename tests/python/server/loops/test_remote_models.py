"""A version is loaded in every loop, or in none."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, cast

import pytest

from fastserve.config.completion import ModelDefaults, ServedConfig
from fastserve.config.model_config import ModelConfig, Tensor
from fastserve.control.loading.loader import Loaded, Loader
from fastserve.control.repository.model_repository import ModelSource
from fastserve.errors import Error
from fastserve.server.loops.channel import Message
from fastserve.server.loops.remote_models import RemoteModels, RemoteServable
from fastserve.server.loops.tally import Tally

SOURCE = ModelSource("digits", path=cast(Any, None), versions={1: cast(Any, None)})
KEY = ("digits", 1)
TENSORS = (Tensor("x", "FP32", (-1, 2), ("rows", ""), optional=True),)
SERVED = ServedConfig(TENSORS, TENSORS, 8, True, "up to 8 rows", 5, (2, 4), 1, 64, ("careful",))


class Member:
    """A loop that loads, or says why it does not."""

    def __init__(self, number: int, error: Error | None = None) -> None:
        self.number = number
        self.error = error
        self.has: set[tuple[str, int]] = set()
        self.did: list[str] = []
        self.served = SERVED

    async def load(self, job: bytes, version: tuple[str, int]) -> Message:
        assert pickle.loads(job)[0].name == version[0]
        self.did.append("load")
        if self.error:
            raise self.error
        self.has.add(version)
        found = {"platform": "engine", "load_ns": 10 + self.number, "served": asdict(self.served)}
        return Message("answer", found, b"")

    async def publish(self, version: tuple[str, int]) -> None:
        assert version in self.has
        self.did.append("publish")

    def discard(self, version: tuple[str, int]) -> None:
        assert version in self.has
        self.did.append("discard")

    def drop(self, version: tuple[str, int]) -> None:
        self.has.discard(version)
        self.did.append("drop")

    def kill(self) -> None:
        self.did.append("kill")


class Fleet:
    def __init__(self, *members: Member) -> None:
        self.members = list(members)
        self.tally = Tally()

    async def settle(self) -> None: ...
    def running(self) -> list[Member]:
        return self.members


def with_models(fleet: Fleet, act: Callable[[RemoteModels], Awaitable[None]]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        await act(RemoteModels(cast(Any, fleet), Loader(ModelDefaults()), loop))

    asyncio.run(run())


async def load(models: RemoteModels) -> Loaded:
    return await asyncio.to_thread(models.load, SOURCE, 1, ModelConfig())


async def publish(models: RemoteModels, loaded: Loaded) -> None:
    await asyncio.to_thread(models.publish, cast(RemoteServable, loaded.servable))


async def serve(models: RemoteModels) -> None:
    await publish(models, await load(models))


def test_every_loop_loads_before_any_serves():
    fleet = Fleet(Member(0), Member(1))

    async def act(models: RemoteModels) -> None:
        loaded = await load(models)
        assert (loaded.platform, loaded.served, loaded.load_ns) == ("engine", SERVED, 11)
        assert [member.did for member in fleet.members] == [["load"], ["load"]]
        await publish(models, loaded)
        assert [member.did[1:] for member in fleet.members] == [["publish"], ["publish"]]

    with_models(fleet, act)


def test_one_loop_that_cannot_load_fails_the_version_for_all():
    fleet = Fleet(Member(0), Member(1, Error("INTERNAL", "the file is broken")), Member(2))

    async def act(models: RemoteModels) -> None:
        with pytest.raises(Error, match="the file is broken"):
            await load(models)
        assert all(not member.has and member.did[-1] == "drop" for member in fleet.members)
        newcomer = Member(3)
        await models.prepare(cast(Any, newcomer))
        assert newcomer.did == []

    with_models(fleet, act)


def test_one_loop_that_cannot_load_it_again_leaves_what_all_serve():
    fleet = Fleet(Member(0), Member(1))

    async def act(models: RemoteModels) -> None:
        await serve(models)
        fleet.members[1].error = Error("INTERNAL", "the new file is broken")
        with pytest.raises(Error, match="the new file is broken"):
            await load(models)
        for member in fleet.members:
            assert member.did == ["load", "publish", "load", "discard"]
            assert member.has == {("digits", 1)}
        fleet.members[1].error = None
        await serve(models)
        assert fleet.members[0].did[-2:] == ["load", "publish"]

    with_models(fleet, act)


def test_without_a_loop_nothing_can_be_loaded():
    async def act(models: RemoteModels) -> None:
        with pytest.raises(Error, match="no loop is running"):
            await load(models)

    with_models(Fleet(), act)


def test_a_loop_that_comes_back_is_given_what_the_others_serve():
    async def act(models: RemoteModels) -> None:
        await serve(models)
        newcomer = Member(0)
        await models.prepare(cast(Any, newcomer))
        assert newcomer.did == ["load", "publish"]
        models.retire(*KEY)
        await asyncio.sleep(0)
        another = Member(0)
        await models.prepare(cast(Any, another))
        assert another.did == []

    with_models(Fleet(Member(0)), act)


# It was started between the others' load and their publication.
def test_a_loop_that_was_late_is_given_the_version_when_it_is_published():
    late = Member(1)
    fleet = Fleet(Member(0))

    async def act(models: RemoteModels) -> None:
        loaded = await load(models)
        fleet.members.append(late)
        await publish(models, loaded)
        assert late.did == ["load", "publish"]

    with_models(fleet, act)


def test_a_loop_that_cannot_have_what_the_others_serve_is_replaced():
    late = Member(1, Error("INTERNAL", "out of memory"))
    fleet = Fleet(Member(0))

    async def act(models: RemoteModels) -> None:
        loaded = await load(models)
        fleet.members.append(late)
        await publish(models, loaded)
        assert late.did == ["load", "kill"]
        assert fleet.members[0].did == ["load", "publish"]

    with_models(fleet, act)


def test_a_file_that_was_changed_meanwhile_is_told(caplog):
    async def act(models: RemoteModels) -> None:
        await serve(models)
        newcomer = Member(0)
        newcomer.served = ServedConfig(TENSORS, (), 8, True, "", 5, (), 1, 64)
        await models.prepare(cast(Any, newcomer))

    with_models(Fleet(Member(0)), act)
    assert "digits version 1 is another than the one that was loaded at first" in caplog.text
