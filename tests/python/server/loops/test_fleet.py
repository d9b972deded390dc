"""Loops are kept alive, and seen as one; with loops that a test lets live and die."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fastserve.config.options import Options
from fastserve.errors import Error
from fastserve.server.front_end import CutOff
from fastserve.server.live.loop_settings import LoopSettings, TraceRates
from fastserve.server.logs import LogSettings
from fastserve.server.loops import fleet as fleets
from fastserve.server.loops.fleet import Fleet
from fastserve.server.loops.member import End
from fastserve.server.loops.tally import LoopStats


class Puppet:
    """A loop that does what the test says."""

    def __init__(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.parted: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[End] = loop.create_future()
        self.last_words: LoopStats | None = None
        self.pid = None
        self.said: list[str] = []
        self.requests = 0
        self.is_silent = False
        self.start_error: Error | None = None
        self.ends_when_told = True

    async def start(self) -> None:
        if self.start_error:
            raise self.start_error

    async def accept(self) -> None:
        self.said.append("accept")

    async def snapshot(self) -> LoopStats:
        if self.is_silent:
            await asyncio.get_running_loop().create_future()
        return LoopStats({"requests": self.requests}, connections=1)

    async def debug(self, limit: int) -> dict[str, Any]:
        if self.is_silent:
            await asyncio.get_running_loop().create_future()
        return {"connections": 1, "limit": limit}

    def configure(self, settings: LoopSettings) -> asyncio.Future[None]:
        self.said.append(f"trace {settings.trace.of_all}")
        answer = asyncio.get_running_loop().create_future()
        if not self.is_silent:
            answer.set_result(None)
        return answer

    def begin_drain(self) -> None:
        self.said.append("drain")
        if self.ends_when_told:
            self.end("exit code 0", CutOff(1, 2))

    def kill(self) -> None:
        self.said.append("kill")
        self.end("signal SIGKILL")

    def leave(self) -> None:
        self.parted.set_result(None)

    def end(self, cause: str, cut_off: CutOff | None = None) -> None:
        if not self.ended.done():
            self.ended.set_result(End(cause, cut_off))
        if not self.parted.done():
            self.parted.set_result(None)


class Theatre:
    """All the loops that were ever made."""

    def __init__(self, loops: int) -> None:
        self.made: list[Puppet] = []
        self.prepare_calls: list[Puppet] = []
        self.before_start: Callable[[Puppet], None] = lambda _: None
        self.fleet: Fleet[Puppet] = Fleet(
            Options(loops=loops, drain_timeout_ns=0), self._make, self._prepare
        )

    def _make(self, number: int) -> Puppet:
        puppet = Puppet(number)
        self.before_start(puppet)
        self.made.append(puppet)
        return puppet

    async def _prepare(self, puppet: Puppet) -> None:
        self.prepare_calls.append(puppet)

    async def settled(self, made: int) -> None:
        """Until so many were made, and all are up."""
        while len(self.made) < made or self.fleet.states()["serving"] < len(self.fleet._slots):
            await asyncio.sleep(0)


def play(loops: int, act: Callable[[Theatre], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        theatre = Theatre(loops)
        await act(theatre)
        await theatre.fleet.drain()

    asyncio.run(run())


def test_a_loop_that_ends_is_replaced_and_prepared_before_it_accepts():
    async def act(theatre: Theatre) -> None:
        await theatre.fleet.start()
        await theatre.fleet.accept()
        theatre.made[0].end("signal SIGKILL")
        await theatre.settled(3)
        new = theatre.made[2]
        assert new.number == 0
        assert theatre.prepare_calls[-1] is new
        assert new.said == ["accept"]
        assert theatre.fleet.restarts == 1
        assert theatre.fleet.running() == [new, theatre.made[1]]

    play(2, act)


def test_what_is_set_reaches_every_loop_and_each_to_come_before_it_accepts():
    async def act(theatre: Theatre) -> None:
        await theatre.fleet.configure(LoopSettings(LogSettings(), TraceRates(1)))
        await theatre.fleet.start()
        await theatre.fleet.accept()
        await theatre.fleet.configure(LoopSettings(LogSettings(), TraceRates(2)))
        theatre.made[0].end("signal SIGKILL")
        await theatre.settled(3)
        assert theatre.made[1].said == ["trace 1", "accept", "trace 2"]
        assert theatre.made[2].said == ["trace 2", "accept"]

    play(2, act)


def test_a_loop_that_hangs_holds_no_setting_up(monkeypatch):
    monkeypatch.setattr(fleets, "ANSWER_TIMEOUT_S", 0.01)

    async def act(theatre: Theatre) -> None:
        await theatre.fleet.start()
        theatre.made[0].is_silent = True
        await theatre.fleet.configure(LoopSettings(LogSettings(), TraceRates(2)))
        assert [puppet.said for puppet in theatre.made] == [["trace 2"], ["trace 2"]]

    play(2, act)


def test_the_cause_is_logged(caplog):
    async def act(theatre: Theatre) -> None:
        await theatre.fleet.start()
        theatre.made[0].end("signal SIGSEGV")
        await theatre.settled(2)

    play(1, act)
    assert "loop 0 ended with signal SIGSEGV; it is started again now" in caplog.text


def test_a_loop_that_leaves_is_replaced_before_it_has_gone():
    async def act(theatre: Theatre) -> None:
        await theatre.fleet.start()
        theatre.made[0].leave()
        await theatre.settled(2)
        assert theatre.fleet.states() == {
            "starting": 0, "serving": 1, "waiting": 0, "draining": 1,
        }  # fmt: skip
        theatre.made[0].end("exit code 0", CutOff())

    play(1, act)


def test_a_loop_that_cannot_start_fails_the_start():
    async def act(theatre: Theatre) -> None:
        def fail(puppet: Puppet) -> None:
            puppet.start_error = Error("UNAVAILABLE", "no luck") if puppet.number else None

        theatre.before_start = fail
        with pytest.raises(Error, match="loop 1 could not start: no luck"):
            await theatre.fleet.start()

    play(2, act)


def test_what_a_dead_loop_counted_is_still_shown():
    async def act(theatre: Theatre) -> None:
        await theatre.fleet.start()
        first, second = theatre.made
        first.requests, second.requests = 5, 7
        assert (await theatre.fleet.collect()).gateway["requests"] == 12
        first.end("signal SIGKILL")
        await theatre.settled(3)
        total = await theatre.fleet.collect()
        assert total.gateway["requests"] == 12
        assert total.connections == 2

    play(2, act)


def test_what_a_loop_says_at_its_end_counts():
    async def act(theatre: Theatre) -> None:
        await theatre.fleet.start()
        first = theatre.made[0]
        first.last_words = LoopStats({"requests": 9})
        first.end("exit code 0", CutOff())
        await theatre.settled(2)
        assert (await theatre.fleet.collect()).gateway["requests"] == 9

    play(1, act)


def test_a_silent_loop_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(fleets, "ANSWER_TIMEOUT_S", 0.01)

    async def act(theatre: Theatre) -> None:
        await theatre.fleet.start()
        first, second = theatre.made
        first.requests, second.requests = 5, 7
        await theatre.fleet.collect()
        first.is_silent, second.requests = True, 8
        assert (await theatre.fleet.collect()).gateway["requests"] == 13
        shown = await theatre.fleet.debug(10)
        assert "no answer" in shown[0]["problem"]
        assert shown[1] == {"loop": 1, "state": "serving", "connections": 1, "limit": 10}

    play(2, act)


def test_a_drain_sums_what_was_cut_off_and_starts_nothing_again():
    async def run() -> None:
        theatre = Theatre(3)
        await theatre.fleet.start()
        assert await theatre.fleet.drain() == CutOff(3, 6)
        assert len(theatre.made) == 3

    asyncio.run(run())


def test_a_loop_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(fleets, "_DRAIN_MARGIN_S", 0.01)

    async def run() -> None:
        theatre = Theatre(1)
        await theatre.fleet.start()
        theatre.made[0].ends_when_told = False
        await theatre.fleet.drain()
        assert theatre.made[0].said == ["drain", "kill"]

    asyncio.run(run())


def test_it_is_ready_as_long_as_one_loop_serves():
    async def act(theatre: Theatre) -> None:
        assert not theatre.fleet.is_serving()
        await theatre.fleet.start()
        await theatre.fleet.settle()
        for _ in range(2):
            theatre.made[-1].end("signal SIGKILL")
            await theatre.settled(len(theatre.made) + 1)
        theatre.made[0].end("signal SIGKILL")
        await asyncio.sleep(0)
        assert theatre.fleet.is_serving()

    play(2, act)
