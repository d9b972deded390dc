"""Fleet: several loops kept alive, and seen as one.

Each has a slot. A loop that ends unasked leaves its slot to a new one, at once the first time and
later each time it does not last; its listening socket is the parent's, so who connects meanwhile
waits in the backlog. A loop that was told to leave is replaced before it has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fastserve.config.options import Options
from fastserve.config.units import format_duration_ns
from fastserve.errors import Error
from fastserve.server import logs
from fastserve.server.front_end import CutOff
from fastserve.server.live.loop_settings import LoopSettings
from fastserve.server.loops.backoff import Backoff
from fastserve.server.loops.member import End, Member
from fastserve.server.loops.tally import LoopStats, Tally

# A loop that does not answer by then is shown with what it said last.
ANSWER_TIMEOUT_S = 0.5
# What a loop may take beyond the drain timeout before it is killed.
_DRAIN_MARGIN_S = 3.0
_SETTLE_TIMEOUT_S = 30.0

M = TypeVar("M", bound=Member)


async def _nothing(_: Member) -> None:
    return None


def _log_failure(keeper: asyncio.Task[None]) -> None:
    if not keeper.cancelled() and keeper.exception() is not None:
        logs.LOGGER.error("a loop is not looked after any more", exc_info=keeper.exception())


@dataclass
class _Slot(Generic[M]):
    number: int
    state: str = "starting"
    member: M | None = None
    backoff: Backoff = field(default_factory=Backoff)


class Fleet(Generic[M]):
    """Threads: the parent's loop. `make` makes the loop of a number.

    `prepare` gives a loop that was just started what it must have before it accepts.
    """

    def __init__(
        self,
        options: Options,
        make: Callable[[int], M],
        prepare: Callable[[M], Awaitable[None]] = _nothing,
    ) -> None:
        self._make = make
        self._prepare = prepare
        self._drain_timeout_s = options.drain_timeout_ns / 1e9
        self._slots: list[_Slot[M]] = [_Slot(number) for number in range(options.loops)]
        self._alive: dict[M, str] = {}  # Each with its state, also those that are on their way out.
        self._keepers: list[asyncio.Task[None]] = []
        self._farewells: set[asyncio.Task[End]] = set()
        self._changed = asyncio.Condition()
        self._is_accepting = False
        self._settings: LoopSettings | None = None
        self.tally = Tally()
        self.restarts = 0

    async def start(self) -> None:
        """Until every loop runs. Errors: Error if one cannot: then none will."""
        loop = asyncio.get_running_loop()
        first = [loop.create_future() for _ in self._slots]
        self._keepers = [
            loop.create_task(self._keep(slot, started))
            for slot, started in zip(self._slots, first, strict=True)
        ]
        for keeper in self._keepers:
            keeper.add_done_callback(_log_failure)
        await asyncio.gather(*first)

    async def accept(self) -> None:
        """Take connections, now and in every loop to come."""
        self._is_accepting = True
        with contextlib.suppress(Error):  # Its slot hears of its end as well.
            await asyncio.gather(*(member.accept() for member in self.running()))

    def running(self) -> list[M]:
        return [slot.member for slot in self._slots if slot.member is not None]

    def states(self) -> Mapping[str, int]:
        """How many loops are in each state: starting, serving, waiting to be started, draining."""
        counts = Counter(slot.state for slot in self._slots)
        counts["draining"] += sum(state == "draining" for state in self._alive.values())
        return {state: counts[state] for state in ("starting", "serving", "waiting", "draining")}

    def is_serving(self) -> bool:
        return any(slot.state == "serving" for slot in self._slots)

    def pids(self) -> list[int]:
        """The processes beside this one."""
        return [pid for member in self._alive if (pid := member.pid) is not None]

    async def settle(self) -> None:
        """Until no loop is about to start and one runs, or for as long as can be waited."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_TIMEOUT_S), self._changed:
                await self._changed.wait_for(
                    lambda: self.is_serving() and all(s.state != "starting" for s in self._slots)
                )

    async def collect(self) -> LoopStats:
        """What all of them counted, those included that are gone."""

        async def ask(member: M) -> None:
            with contextlib.suppress(TimeoutError, Error):
                stats = await asyncio.wait_for(member.snapshot(), ANSWER_TIMEOUT_S)
                if member in self._alive:
                    self.tally.update(member, stats)

        await asyncio.gather(*(ask(m) for m, state in self._alive.items() if state != "starting"))
        return self.tally.total()

    async def debug(self, limit: int) -> list[dict[str, Any]]:
        async def ask(member: M, state: str) -> dict[str, Any]:
            shown: dict[str, Any] = {"loop": member.number, "state": state}
            if state != "starting":
                try:
                    shown |= await asyncio.wait_for(member.debug(limit), ANSWER_TIMEOUT_S)
                except (TimeoutError, Error):
                    shown["problem"] = f"no answer within {ANSWER_TIMEOUT_S:g} s"
            return shown

        asked = sorted(self._alive.items(), key=lambda item: item[0].number)
        return list(await asyncio.gather(*(ask(member, state) for member, state in asked)))

    def configure(self, settings: LoopSettings) -> asyncio.Future[None]:
        """Every loop, and each to come, goes by these soon; done when they do, or do not answer."""
        self._settings = settings
        told = [m.configure(settings) for m, state in self._alive.items() if state != "starting"]

        async def answered() -> None:
            if told:
                await asyncio.wait(told, timeout=ANSWER_TIMEOUT_S)

        return asyncio.ensure_future(answered())

    async def drain(self) -> CutOff:
        """End all loops; what is in flight may finish for the drain timeout."""
        for keeper in self._keepers:
            keeper.cancel()
        members = list(self._alive)
        for member in members:
            self._alive[member] = "draining"
            member.begin_drain()
        ends = await asyncio.gather(*(self._see_off(member) for member in members))
        cut_off = [end.cut_off or CutOff() for end in ends]
        return CutOff(sum(c.requests for c in cut_off), sum(c.connections for c in cut_off))

    # -- One slot ----------------------------------------------------------------------------

    async def _keep(self, slot: _Slot[M], started: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            member = self._make(slot.number)
            cause = await self._run(slot, member, started)
            if not started.done():
                started.set_exception(Error("UNAVAILABLE", f"loop {slot.number} {cause}"))
                return
            slot.member = None
            self.restarts += 1
            wait_s = slot.backoff.after(loop.time() - began_s)
            when = f"in {format_duration_ns(round(wait_s * 1e9))}" if wait_s else "now"
            fields = {"event": "loop_restart", "loop": slot.number, "cause": cause}
            logs.warning(f"loop {slot.number} {cause}; it is started again {when}", fields)
            await self._enter(slot, "waiting" if wait_s else "starting")
            await asyncio.sleep(wait_s)
            await self._enter(slot, "starting")

    async def _run(self, slot: _Slot[M], member: M, started: asyncio.Future[None]) -> str:
        """Until it leaves or ends; why."""
        self._alive[member] = "starting"
        member.ended.add_done_callback(lambda _: self._forget(member))
        try:
            await member.start()
            await self._prepare(member)
            if self._settings is not None:
                member.configure(self._settings)
            # Nothing is awaited between the last look at what it must have and this.
            slot.member = member
            self._alive[member] = "serving"
            if self._is_accepting:
                await member.accept()
        except Error as error:
            was_over = member.ended.done()
            member.kill()
            if not was_over:
                return f"could not start: {error.message}"
        else:
            if not started.done():
                started.set_result(None)
            await self._enter(slot, "serving")
            await asyncio.wait([member.parted])
        if member.ended.done():
            return f"ended with {member.ended.result().cause}"
        self._alive[member] = "draining"
        task = asyncio.create_task(self._see_off(member))
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)
        return "drains because it was told to"

    async def _enter(self, slot: _Slot[M], state: str) -> None:
        async with self._changed:
            slot.state = state
            self._changed.notify_all()

    async def _see_off(self, member: M) -> End:
        limit_s = self._drain_timeout_s + _DRAIN_MARGIN_S
        await asyncio.wait([member.ended], timeout=limit_s)
        if not member.ended.done():
            logs.warning(f"loop {member.number} does not end by itself; it is killed")
            member.kill()
            await asyncio.wait([member.ended], timeout=_DRAIN_MARGIN_S)
        return member.ended.result() if member.ended.done() else End("no end")

    def _forget(self, member: M) -> None:
        if member.last_words is not None:
            self.tally.update(member, member.last_words)
        self.tally.end(member)
        self._alive.pop(member, None)
