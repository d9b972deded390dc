"""Order and arithmetic of paired runs."""

import pytest

from bench.serve.pairing import Spread, paired_differences, paired_ratios, rotated, spread


# Two contestants alternate, so neither always runs on the warmer machine.
def test_two_contestants_take_turns_in_going_first():
    assert [rotated("ab", index)[0] for index in range(4)] == ["a", "b", "a", "b"]


def test_each_of_three_takes_each_place_once_in_three_rounds():
    rounds = [rotated(["a", "b", "c"], index) for index in range(3)]
    assert [sorted(place) for place in zip(*rounds, strict=True)] == [["a", "b", "c"]] * 3


def test_rotating_nothing_gives_nothing():
    assert rotated([], 3) == []


def test_spread_keeps_the_extremes_beside_the_median():
    assert spread([3.0, 1.0, 8.0]) == Spread(3.0, 1.0, 8.0)


def test_spread_of_an_empty_series_is_refused():
    with pytest.raises(ValueError, match="no values"):
        spread([])


# The machine halves its speed in the second round: both contestants feel it, the ratio does not.
def test_a_drift_that_hits_both_runs_of_a_round_leaves_the_ratio_alone():
    assert paired_ratios([60.0, 30.0], [100.0, 50.0]) == [0.6, 0.6]


def test_unpaired_series_are_refused():
    with pytest.raises(ValueError, match="not paired"):
        paired_ratios([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="not paired"):
        paired_differences([1.0], [])


def test_a_ratio_to_nothing_is_refused():
    with pytest.raises(ValueError, match="not positive"):
        paired_ratios([1.0], [0.0])


def test_differences_are_taken_round_by_round():
    assert paired_differences([5.0, 9.0], [3.0, 3.0]) == [2.0, 6.0]
