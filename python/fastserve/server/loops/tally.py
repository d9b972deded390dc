"""Tally: what several loops counted, as if one had.

Counters are sums that also hold what loops counted that are gone: a scrape after a loop died must
not show less than the one before. Pure: snapshots go in, one snapshot comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# What is there now, unlike what has happened since the start: it goes with its loop.
GATEWAY_GAUGES = ("in_flight_bytes", "slab_bytes", "slab_bytes_free", "slabs", "regions_retired")
SERVABLE_GAUGES = ("queue_depth", "instances", "load", "expected_wait_ns")

Version = tuple[str, int]
Stats = Mapping[str, Any]


@dataclass(frozen=True)
class LoopStats:
    """What one loop said, or what all of them did together.

    `gateway` is Gateway.stats(); `servables` holds Servable.stats() where a loop has engines of
    its own.
    """

    gateway: Mapping[str, int] = field(default_factory=dict)
    connections: int = 0
    in_flight: int = 0
    servables: Mapping[Version, Stats] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "gateway": dict(self.gateway),
            "connections": self.connections,
            "in_flight": self.in_flight,
            "servables": [[*version, stats] for version, stats in self.servables.items()],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LoopStats:
        return cls(
            value["gateway"],
            value["connections"],
            value["in_flight"],
            {(name, number): _with_integers(stats) for name, number, stats in value["servables"]},
        )


def _with_integers(stats: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's keys are text; the sizes of batches are not."""
    return {**stats, "batch_rows": {int(n): count for n, count in stats["batch_rows"].items()}}


class Tally:
    """Threads: the loop's. A loop is known by a key of its owner's choice."""

    def __init__(self) -> None:
        self._last: dict[object, LoopStats] = {}
        self._gone = LoopStats()

    def update(self, key: object, stats: LoopStats) -> None:
        self._last[key] = stats

    def end(self, key: object) -> None:
        """The loop is gone: what it had is, what it counted stays."""
        last = self._last.pop(key, None)
        if last is not None:
            self._gone = merge([self._gone, _counters(last)])

    def total(self) -> LoopStats:
        return merge([self._gone, *self._last.values()])


def merge(parts: Iterable[LoopStats]) -> LoopStats:
    parts = list(parts)
    versions = dict.fromkeys(version for part in parts for version in part.servables)
    return LoopStats(
        _sum([part.gateway for part in parts]),
        sum(part.connections for part in parts),
        sum(part.in_flight for part in parts),
        {
            version: _merge_servable(
                [part.servables[version] for part in parts if version in part.servables]
            )
            for version in versions
        },
    )


def _counters(stats: LoopStats) -> LoopStats:
    return LoopStats(
        {key: value for key, value in stats.gateway.items() if key not in GATEWAY_GAUGES},
        servables={
            version: {key: value for key, value in item.items() if key not in SERVABLE_GAUGES}
            for version, item in stats.servables.items()
        },
    )


def _merge_servable(parts: list[Stats]) -> Stats:
    answer: dict[str, Any] = {}
    for key in dict.fromkeys(key for part in parts for key in part):
        values = [part[key] for part in parts if key in part]
        if key == "load":
            answer[key] = sum(values) / len(values)
        elif key == "expected_wait_ns":
            answer[key] = max(values)  # Nobody chooses the loop that he meets.
        elif not isinstance(values[0], Mapping):
            answer[key] = sum(values)
        elif "buckets" in values[0]:
            answer[key] = _merge_histograms(values)
        else:
            answer[key] = _sum(values)
    return answer


def _sum(parts: Iterable[Mapping[Any, int]]) -> dict[Any, int]:
    answer: dict[Any, int] = {}
    for part in parts:
        for key, value in part.items():
            answer[key] = answer.get(key, 0) + value
    return answer


def _merge_histograms(parts: list[Stats]) -> Stats:
    """All have the same limits: they are compiled in."""
    buckets: dict[int | None, int] = {}
    for part in parts:
        for limit, count in part["buckets"]:
            buckets[limit] = buckets.get(limit, 0) + count
    return {
        "buckets": list(buckets.items()),
        "sum_ns": sum(part["sum_ns"] for part in parts),
        "count": sum(part["count"] for part in parts),
    }
