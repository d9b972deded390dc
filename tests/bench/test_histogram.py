"""Pooling and reading of latency histograms."""

import pytest

from bench.serve.histogram import merged, parse, percentile_ns


def test_percentiles_are_nearest_ranks():
    histogram = {10: 50, 20: 49, 1000: 1}
    assert percentile_ns(histogram, 50) == 10
    assert percentile_ns(histogram, 99) == 20
    assert percentile_ns(histogram, 100) == 1000


# One window of three had a stall. Averaging the windows' p99 would give 340; the pool says 10.
def test_windows_are_pooled_before_a_percentile_is_read():
    quiet = {10: 1000}
    stalled = {10: 985, 1000: 15}
    assert percentile_ns(merged([quiet, quiet, stalled]), 99) == 10
    assert percentile_ns(stalled, 99) == 1000


def test_the_clients_pairs_become_a_histogram_and_equal_buckets_add_up():
    assert parse([[5, 2], [9, 1], [5, 1]]) == {5: 3, 9: 1}


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="count of -1"):
        parse([[5, -1]])


@pytest.mark.parametrize("percent", [0, -1, 101])
def test_a_percentile_outside_its_range_is_refused(percent):
    with pytest.raises(ValueError, match="expected above 0"):
        percentile_ns({1: 1}, percent)


def test_an_empty_histogram_has_no_percentile():
    with pytest.raises(ValueError, match="empty"):
        percentile_ns({}, 50)
