"""What the server holds, over time, and whether that grows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests import proc
from tests.served import Metrics, Server

RISE_BYTES_PER_HOUR_MAX = 1 << 20
# Below it a rise says nothing: the allocator takes and gives back in steps of this order. The limit
# allows as much in the last half of an hour's soak, so that a shorter one is no stricter.
RISE_BYTES_SEEN = 512 << 10
# Until then buffers and threads that stay find their number: a megabyte comes in a few steps.
SETTLED_S = 480.0
# Threads that serve scrapes come with them and stay: as many as Python's executor has at most.
SCRAPE_THREADS_MAX = 8


@dataclass(frozen=True)
class Sample:
    at_s: float
    rss_bytes: int
    heap_bytes: int  # Of the C library's heap: what somebody holds.
    pss_bytes: int  # 0 where /proc is another's.
    fds: int
    threads: int  # 0 where /proc is another's.
    connections: int
    in_flight: int
    is_quiet: bool


def sample(server: Server, at_s: float, *, is_quiet: bool) -> Sample:
    """Blocks for as long as a scrape takes."""
    metrics = server.metrics()
    return Sample(
        at_s=round(at_s, 1),
        rss_bytes=_gauge(metrics, "process_resident_memory_bytes"),
        heap_bytes=_heap_bytes(server),
        pss_bytes=_pss_bytes(server.pid),
        fds=_gauge(metrics, "process_open_fds"),
        threads=len(list(Path(f"/proc/{server.pid}/task").iterdir())) if proc.IS_OURS else 0,
        connections=_gauge(metrics, "fastserve_connections"),
        in_flight=_gauge(metrics, "fastserve_in_flight_requests"),
        is_quiet=is_quiet,
    )


def _gauge(metrics: Metrics, name: str) -> int:
    return int(metrics.sum(name))


def _heap_bytes(server: Server) -> int:
    """RSS rises as well when what is free lies scattered; this rises with leaks alone."""
    memory = server.request("GET", "/debug").json["loops"][0]["memory"]
    return int(memory["heap_bytes"]) - int(memory["heap_bytes_free"])


def _pss_bytes(pid: int) -> int:
    if not proc.IS_OURS:
        return 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def slope_per_hour(samples: Sequence[Sample]) -> float:
    """Bytes of RSS an hour, by least squares; 0 for fewer than two samples."""
    count = len(samples)
    if count < 2:
        return 0.0
    mean_t = math.fsum(one.at_s for one in samples) / count
    mean_b = math.fsum(one.rss_bytes for one in samples) / count
    spread = math.fsum((one.at_s - mean_t) ** 2 for one in samples)
    rise = math.fsum((one.at_s - mean_t) * (one.rss_bytes - mean_b) for one in samples)
    return rise / spread * 3600 if spread else 0.0


def kept_growth(quiet: Sequence[Sample]) -> int:
    """How much more of the heap is held for good in the last third than in the one before.

    Some models or others are loaded at each quiet moment, and a megabyte is theirs: what a leak
    has, nobody gives back, so it shows in the least that is held. 0 for a soak that ends before the
    server has settled.
    """
    settled = [one for one in quiet if one.at_s >= SETTLED_S]
    third = len(settled) // 3
    if third < 2:
        return 0
    middle, end = settled[third : 2 * third], settled[2 * third :]
    return min(one.heap_bytes for one in end) - min(one.heap_bytes for one in middle)


def judge(
    samples: Sequence[Sample], first: Sample, last: Sample
) -> tuple[dict[str, Any], list[str]]:
    """Figures, and what is wrong with them. `first` and `last` are of an idle, warm server."""
    quiet = [one for one in samples if one.is_quiet]
    half = quiet[len(quiet) // 2 :]
    rise = slope_per_hour(half)
    seen_s = half[-1].at_s - half[0].at_s if half else 0.0
    wrong = []
    if rise > RISE_BYTES_PER_HOUR_MAX and rise * seen_s / 3600 > RISE_BYTES_SEEN:
        wrong.append(f"RSS rises by {rise / 1e6:.2f} MB an hour")
    kept = kept_growth(quiet)
    if kept > RISE_BYTES_SEEN:
        wrong.append(f"the heap keeps {kept / 1e6:.2f} MB more than before")
    if last.fds > first.fds:
        wrong.append(f"{last.fds} descriptors, {first.fds} at the start")
    if last.threads > first.threads + SCRAPE_THREADS_MAX:
        wrong.append(f"{last.threads} threads, {first.threads} at the start")
    if last.in_flight > first.in_flight or last.connections > first.connections:
        wrong.append(f"{last.in_flight} in flight, {last.connections} connections at the end")
    figures = {
        "rss_slope_mb_per_hour": round(rise / 1e6, 3),
        "heap_growth_mb": round(kept / 1e6, 3),
        "slope_over_s": round(seen_s, 1),
        "first": asdict(first),
        "last": asdict(last),
    }
    return figures, wrong
