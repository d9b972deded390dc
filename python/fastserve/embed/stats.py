"""What a model has counted, as values that can be kept, compared and printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Durations:
    """A histogram of times.

    `buckets` are (upper limit in ns, inclusive, None for the last; how many), not cumulative.
    """

    count: int
    sum_ns: int
    buckets: tuple[tuple[int | None, int], ...]

    @property
    def mean_ns(self) -> float:
        """0 while nothing was counted."""
        return self.sum_ns / self.count if self.count else 0.0

    def quantile_ns(self, q: float) -> int | None:
        """The upper limit of the bucket that holds it; None: above every limit, or nothing there.

        Units: `q` from 0 to 1; nanoseconds.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"expected a quantile from 0 to 1, found {q}")
        seen = 0
        for limit_ns, count in self.buckets:
            seen += count
            if count and seen >= q * self.count:
                return limit_ns
        return None


@dataclass(frozen=True)
class ModelStats:
    """A snapshot of one version's counters since it was loaded.

    `durations_ns` has a histogram for each phase of a request: "queue" and "request" have one
    record a request, phases of the engine one an execution.
    """

    success: int
    failure: Mapping[str, int]  # By reason: rejected, cancelled, deadline, invalid, backend.
    rows: int
    executions: int
    batch_rows: Mapping[int, int]  # Executions by the rows of their batch.
    close_reasons: Mapping[str, int]
    caller_runs: int
    queue_depth: int
    instances: int
    busy_share: float  # 0 to 1: of the instances' time, over about the last second.
    expected_wait_ns: int  # For the answer to a request that comes now; 0: nothing is known.
    durations_ns: Mapping[str, Durations]

    @property
    def mean_batch_rows(self) -> float:
        """Rows an execution had on average; 0 before the first."""
        return self.rows / self.executions if self.executions else 0.0


def from_core(stats: Mapping[str, Any]) -> ModelStats:
    """From what _core.Servable.stats() says."""
    return ModelStats(
        success=stats["success"],
        failure=stats["failure"],
        rows=stats["rows"],
        executions=stats["executions"],
        batch_rows=stats["batch_rows"],
        close_reasons=stats["close_reasons"],
        caller_runs=stats["caller_runs"],
        queue_depth=stats["queue_depth"],
        instances=stats["instances"],
        busy_share=stats["load"],
        expected_wait_ns=stats["expected_wait_ns"],
        durations_ns={
            key.removesuffix("_ns"): Durations(
                value["count"], value["sum_ns"], tuple(value["buckets"])
            )
            for key, value in stats.items()
            if isinstance(value, Mapping) and "buckets" in value
        },
    )
