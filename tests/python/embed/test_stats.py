"""Counters as values."""

import pytest

from fastserve.embed.stats import Durations, ModelStats, from_core

HISTOGRAM = {"buckets": [(1000, 3), (2000, 1), (None, 0)], "sum_ns": 3000, "count": 4}
COUNTED = {
    "success": 4,
    "rows": 8,
    "executions": 2,
    "failure": {"invalid": 1},
    "close_reasons": {"idle": 2},
    "batch_rows": {4: 2},
    "queue_depth": 0,
    "instances": 2,
    "expected_wait_ns": 7000,
    "caller_runs": 2,
    "queue_ns": HISTOGRAM,
    "load": 0.25,
}


def test_every_histogram_of_the_core_is_found():
    stats = from_core(COUNTED)
    assert stats.durations_ns == {"queue": Durations(4, 3000, ((1000, 3), (2000, 1), (None, 0)))}
    assert (stats.success, stats.failure, stats.batch_rows) == (4, {"invalid": 1}, {4: 2})
    assert (stats.instances, stats.busy_share, stats.expected_wait_ns) == (2, 0.25, 7000)


def test_a_model_that_ran_nothing_has_means_of_zero():
    idle = ModelStats(0, {}, 0, 0, {}, {}, 0, 0, 1, 0.0, 0, {})
    assert idle.mean_batch_rows == 0
    assert Durations(0, 0, ((None, 0),)).mean_ns == 0


def test_means():
    stats = from_core(COUNTED)
    assert stats.mean_batch_rows == 4
    assert stats.durations_ns["queue"].mean_ns == 750


@pytest.mark.parametrize(("q", "limit_ns"), [(0, 1000), (0.75, 1000), (0.8, 2000), (1, 2000)])
def test_a_quantile_is_the_limit_of_its_bucket(q, limit_ns):
    assert from_core(COUNTED).durations_ns["queue"].quantile_ns(q) == limit_ns


def test_a_quantile_of_nothing_or_beyond_every_limit_is_none():
    assert Durations(0, 0, ((1000, 0), (None, 0))).quantile_ns(0.5) is None
    assert Durations(1, 9000, ((1000, 0), (None, 1))).quantile_ns(0.5) is None


def test_a_quantile_outside_of_its_range_is_an_error():
    with pytest.raises(ValueError, match="from 0 to 1"):
        from_core(COUNTED).durations_ns["queue"].quantile_ns(99)
