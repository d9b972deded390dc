"""Latency histograms as the open-loop client prints them. Pure.

A quiet server's p99 over two seconds varies by nearly a factor of two by itself. Percentiles of
single windows are therefore never averaged: windows are merged bucket by bucket, and one
percentile is read from the pool.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

Histogram = Mapping[int, int]
"""Upper edge of a bucket in ns -> number of requests in it."""


def parse(pairs: Iterable[Iterable[int]]) -> dict[int, int]:
    """Turns the client's `[[upper_ns, count], ...]` into a mapping."""
    buckets: Counter[int] = Counter()
    for pair in pairs:
        upper_ns, count = pair
        if count < 0:
            raise ValueError(f"bucket {upper_ns} has a count of {count}")
        buckets[upper_ns] += count
    return dict(buckets)


def merged(histograms: Iterable[Histogram]) -> dict[int, int]:
    """Pools windows: the sum of their buckets."""
    pool: Counter[int] = Counter()
    for histogram in histograms:
        pool.update(histogram)
    return dict(pool)


def percentile_ns(histogram: Histogram, percent: float) -> int:
    """Upper edge of the bucket that holds the given percentile, by nearest rank.

    The true value lies within one bucket below (1.6 %). ValueError when the histogram is empty or
    `percent` is not in (0, 100].
    """
    total = sum(histogram.values())
    if total == 0:
        raise ValueError("the histogram is empty")
    if not 0 < percent <= 100:
        raise ValueError(f"percent is {percent}, expected above 0 and at most 100")
    rank = max(1, math.ceil(total * percent / 100))
    seen = 0
    for upper_ns in sorted(histogram):
        seen += histogram[upper_ns]
        if seen >= rank:
            return upper_ns
    raise AssertionError("the ranks of a histogram end at its total")
