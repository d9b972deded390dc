"""Nothing ticks while nobody is connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from fastserve.server.housekeeping import BUSY_PERIOD_S, PERIOD_S, QUIET_TICKS, Housekeeper
from tests.python.server.test_logs import RECORD


class Loop:
    """A loop whose time passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, after_s: float, call: Callable[[], None]) -> Loop:
        self.timers.append((self.now_s + after_s, call))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def tick(self) -> float:
        """Run the next timer; how long it had to wait."""
        due_s, call = self.timers.pop(0)
        waited_s, self.now_s = due_s - self.now_s, due_s
        call()
        return waited_s


class Gateway:
    connections = 1
    in_flight = 0
    sweeps = 0

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.traces: list[dict[str, Any]] = []

    def sweep(self) -> int:
        self.sweeps += 1
        return self.connections

    def take_access_records(self) -> list[dict[str, Any]]:
        taken, self.records = self.records, []
        return taken

    def take_trace_records(self) -> list[dict[str, Any]]:
        taken, self.traces = self.traces, []
        return taken


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def housekeeper(
    gateway: Gateway,
    loop: Loop,
    *,
    logs_access: bool = False,
    trim: Callable[[], object] = lambda: None,
) -> Housekeeper:
    return Housekeeper(cast(Any, gateway), cast(Any, loop), logs_access=logs_access, trim=trim)


def test_an_idle_server_has_no_timer(gateway, loop):
    keeper = housekeeper(gateway, loop, logs_access=True)
    assert not loop.timers
    keeper.on_connection()
    gateway.connections = 0
    for _ in range(QUIET_TICKS):
        loop.tick()
    assert not loop.timers


def test_memory_is_given_back_once_when_nobody_has_come_for_a_while(gateway, loop):
    trims: list[float] = []
    keeper = housekeeper(gateway, loop, trim=lambda: trims.append(loop.now_s))
    keeper.on_connection()
    for is_connected in (True, False, False, True, False, False):
        gateway.connections = int(is_connected)
        loop.tick()
    assert not trims
    loop.tick()
    assert trims == [loop.now_s]
    keeper.on_connection()
    for _ in range(QUIET_TICKS):
        loop.tick()
    assert len(trims) == 2


def test_connections_are_swept_once_a_second(gateway, loop):
    keeper = housekeeper(gateway, loop, logs_access=False)
    for _ in range(3):
        keeper.on_connection()
    assert len(loop.timers) == 1
    assert [loop.tick() for _ in range(5)] == [PERIOD_S] * 5
    assert gateway.sweeps == 5


# While requests come, records are fetched often; a quiet connection is no reason to wake up.
def test_the_access_log_is_fetched_faster_while_requests_come(gateway, loop, caplog):
    keeper = housekeeper(gateway, loop, logs_access=True)
    keeper.on_connection()
    gateway.records = [RECORD]
    assert loop.tick() == pytest.approx(BUSY_PERIOD_S)
    gateway.records = [RECORD]
    assert loop.tick() == pytest.approx(BUSY_PERIOD_S)
    assert loop.tick() == pytest.approx(BUSY_PERIOD_S)
    assert loop.tick() == pytest.approx(PERIOD_S)
    assert len(caplog.records) == 2


def test_a_request_whose_client_left_is_still_logged(gateway, loop):
    keeper = housekeeper(gateway, loop, logs_access=True)
    keeper.on_connection()
    gateway.connections, gateway.in_flight = 0, 1
    loop.tick()
    assert loop.timers


# Whether or not there is an access log, and as often.
def test_traces_are_fetched_faster_while_there_are_any(gateway, loop):
    taken: list[Any] = []
    keeper = Housekeeper(
        cast(Any, gateway), cast(Any, loop), logs_access=False, on_traces=taken.extend
    )
    keeper.on_connection()
    gateway.traces = [RECORD]
    assert loop.tick() == pytest.approx(PERIOD_S)
    assert loop.tick() == pytest.approx(BUSY_PERIOD_S)
    gateway.traces = [RECORD]
    keeper.stop()
    assert taken == [RECORD] * 2


def test_the_end_writes_what_is_left(gateway, loop, caplog):
    keeper = housekeeper(gateway, loop, logs_access=True)
    keeper.on_connection()
    gateway.records = [RECORD]
    keeper.stop()
    assert not loop.timers
    assert len(caplog.records) == 1
