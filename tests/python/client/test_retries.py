from __future__ import annotations

import pytest

from fastserve.client.call_error import CallError
from fastserve.client.retries import Retries, RetryBudget

ERROR = CallError("UNAVAILABLE", "x")


def test_pauses_double_up_to_a_limit_and_are_spread():
    retries = Retries(pause_s=0.1, pause_max_s=0.4)
    for attempt, longest in ((1, 0.1), (2, 0.2), (3, 0.4), (9, 0.4)):
        pauses = {retries.pause_before(attempt, ERROR) for _ in range(20)}
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(pauses) > 1


def test_a_longer_pause_of_the_servers_counts():
    busy = CallError("UNAVAILABLE", "x", retry_after_s=3)
    assert Retries().pause_before(1, busy) == 3


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"pause_s": -1}, {"pause_s": 3.0, "pause_max_s": 2.0}]
)
def test_numbers_that_make_no_sense(wrong):
    with pytest.raises(ValueError):
        Retries(**wrong)


def test_the_budget_is_for_failures_that_are_few():
    budget = RetryBudget()
    assert [budget.failed() for _ in range(6)] == [True, True, True, True, False, False]
    for _ in range(20):
        budget.succeeded()
    assert not budget.failed()
    for _ in range(40):
        budget.succeeded()
    assert budget.failed()
