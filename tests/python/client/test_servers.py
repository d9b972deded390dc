from __future__ import annotations

import pytest

from fastserve.client import servers as module
from fastserve.client.servers import Servers


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "monotonic", made)
    return made


def picked(servers: Servers[str], count: int) -> str:
    return "".join(servers.pick().channel for _ in range(count))


def test_the_first_or_each_in_turn():
    assert picked(Servers("abc", "pick_first"), 4) == "aaaa"
    assert picked(Servers("abc", "round_robin"), 4) == "abca"
    with pytest.raises(ValueError, match="expected pick_first or round_robin"):
        Servers("a", "random")  # type: ignore[arg-type]


def test_one_that_failed_is_set_aside_for_longer_and_longer(clock):
    servers = Servers("ab", "pick_first")
    for aside_s in (0.1, 0.2, 0.4):
        servers.all[0].failed()
        clock.now_s += aside_s * 0.9
        assert picked(servers, 1) == "b"
        clock.now_s += aside_s * 0.2
        assert picked(servers, 1) == "a"
    for _ in range(40):
        servers.all[0].failed()
    clock.now_s += 30.1
    assert picked(servers, 1) == "a"
    servers.all[0].failed()
    servers.all[0].succeeded()
    assert picked(servers, 1) == "a"


def test_when_all_failed_the_one_that_waited_longest_is_tried(clock):
    servers = Servers("ab", "round_robin")
    servers.all[1].failed()
    clock.now_s += 0.05
    servers.all[0].failed()
    assert picked(servers, 3) == "bbb"
