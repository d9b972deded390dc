"""Versions that are on their way out: who is told when they are gone."""

import threading

from fastserve.control.farewell import Farewells

TIMEOUT_S = 30


class Departure:
    """Goes when the test says so."""

    def __init__(self) -> None:
        self.gone = threading.Event()

    @property
    def is_gone(self) -> bool:
        return self.gone.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        return self.gone.wait(timeout_s)


def test_what_is_gone_already_is_told_at_once():
    told: list[str] = []
    departure = Departure()
    departure.gone.set()
    farewells = Farewells()
    farewells.expect(departure, lambda: told.append("gone"))
    farewells.expect(None, lambda: told.append("never there"))
    assert told == ["gone", "never there"]
    assert farewells.wait(0)


# One client that is slow must not hold up the news of all others.
def test_one_that_stays_holds_up_no_other():
    farewells, stays, goes = Farewells(), Departure(), Departure()
    told = threading.Event()
    farewells.expect(stays, lambda: None)
    farewells.expect(goes, told.set)
    assert not farewells.wait(0)
    goes.gone.set()
    assert told.wait(TIMEOUT_S)
    assert not farewells.wait(0)
    stays.gone.set()
    assert farewells.wait(TIMEOUT_S)
    assert farewells.wait(0)


def test_who_waits_for_one_model_does_not_wait_for_another():
    farewells, stays, goes = Farewells(), Departure(), Departure()
    farewells.expect(stays, lambda: None, owner="a")
    farewells.expect(goes, lambda: None, owner="b")
    goes.gone.set()
    assert farewells.wait(TIMEOUT_S, owner="b")
    assert not farewells.wait(0, owner="a")
    stays.gone.set()
    assert farewells.wait(TIMEOUT_S)


def test_it_waits_again_when_it_had_nothing_to_wait_for():
    farewells, first = Farewells(), Departure()
    farewells.expect(first, lambda: None)
    first.gone.set()
    assert farewells.wait(TIMEOUT_S)
    again = Departure()  # The thread has ended, or is about to.
    farewells.expect(again, lambda: None)
    again.gone.set()
    assert farewells.wait(TIMEOUT_S)
