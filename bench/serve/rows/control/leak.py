"""What is left of a model that was loaded and unloaded, a thousand times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from bench.serve.report import Figure, Row
from bench.serve.rows.control import control
from bench.serve.rows.session import Session

CYCLES, WARM_CYCLES = 1000, 100
SAMPLE_EVERY = 25
SLOPE_TARGET_BYTES = 2048
# Three quiet seconds after the last connection has gone the server gives free memory back.
TRIM_S = 4.5


def rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise KeyError("smaps_rollup has no Rss")


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line that fits best. ValueError for fewer than two."""
    if len(points) < 2:
        raise ValueError("a slope needs two points")
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def run(session: Session) -> Row:
    row = Row("leak")
    repository = control.Repository.fresh(session, "leak")
    repository.put("m", 1, control.made_small(session, 1) / "1.onnx")
    cycles = min(CYCLES, 111 * session.pairs + 1)
    warm = cycles * WARM_CYCLES // CYCLES
    points: list[tuple[float, float]] = []
    with session.serve("leak", repository.path, "--model-control", "explicit") as server:
        done = 0
        began_s = time.monotonic()
        while done < cycles:
            with control.Peer(server.port) as peer:
                for _ in range(SAMPLE_EVERY * 4):
                    peer.load("m")
                    peer.unload("m")
                    done += 1
            if done >= warm:
                time.sleep(TRIM_S)
                points.append((done, rss_bytes(server.pid)))
        took_s = time.monotonic() - began_s - TRIM_S * len(points)
    row.runs = [{"cycles": cycle, "rss_bytes": rss} for cycle, rss in points]
    row.figures = [
        Figure("load and unload", took_s / done * 1e3, "ms"),
        Figure("resident memory per cycle", slope(points), "B", SLOPE_TARGET_BYTES, "<="),
        Figure("resident memory in the end", points[-1][1] / 1e6, "MB"),
    ]
    return row
