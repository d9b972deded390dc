"""Order and arithmetic of paired runs. Pure.

A figure on a shared machine drifts within minutes by more than the differences that matter, so the
harness never compares two series: it runs all contestants within a few seconds of each other,
forms one ratio per round, and takes the median of the ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


def rotated(contestants: Sequence[T], round_index: int) -> list[T]:
    """Order of one round: each contestant goes first equally often.

    With two contestants this alternates AB, BA; with three it walks ABC, BCA, CAB.
    """
    if not contestants:
        return []
    start = round_index % len(contestants)
    return [*contestants[start:], *contestants[:start]]


@dataclass(frozen=True)
class Spread:
    """Median with the extremes that it was taken from."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and extremes of a non-empty series; ValueError when it is empty."""
    if not values:
        raise ValueError("no values to take a median of")
    return Spread(statistics.median(values), min(values), max(values))


def paired_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """One ratio per round; ValueError when the rounds do not match or a denominator is zero."""
    if len(numerators) != len(denominators):
        raise ValueError(f"{len(numerators)} runs against {len(denominators)}: not paired")
    if any(value <= 0 for value in denominators):
        raise ValueError("a denominator is not positive")
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def paired_differences(minuends: Sequence[float], subtrahends: Sequence[float]) -> list[float]:
    """One difference per round; ValueError when the rounds do not match."""
    if len(minuends) != len(subtrahends):
        raise ValueError(f"{len(minuends)} runs against {len(subtrahends)}: not paired")
    return [a - b for a, b in zip(minuends, subtrahends, strict=True)]
