"""What several loops counted is shown as if one had, and never goes backwards."""

from __future__ import annotations

import json
from typing import Any

from fastserve.server.loops.tally import LoopStats, Tally, merge


def servable(
    success: int, *, load: float = 0.0, wait_ns: int = 0, depth: int = 0
) -> dict[str, Any]:
    return {
        "success": success,
        "failure": {"rejected": 1, "deadline": success},
        "batch_rows": {1: success, 8: 2},
        "queue_depth": depth,
        "load": load,
        "expected_wait_ns": wait_ns,
        "run_ns": {"buckets": [(10, success), (None, 1)], "sum_ns": 5 * success, "count": success},
    }


def loop(requests: int, **servables: dict[str, Any]) -> LoopStats:
    gateway = {"requests": requests, "slab_bytes": 100, f"responses_{requests}": 1}
    return LoopStats(gateway, 2, 1, {(name, 1): stats for name, stats in servables.items()})


def test_counters_gauges_and_histograms_are_summed():
    total = merge([loop(3, m=servable(3, depth=1)), loop(4, m=servable(4, depth=5))])
    assert total.gateway == {
        "requests": 7,
        "slab_bytes": 200,
        "responses_3": 1,
        "responses_4": 1,
    }
    assert (total.connections, total.in_flight) == (4, 2)
    stats = total.servables[("m", 1)]
    assert stats["success"] == 7
    assert stats["failure"] == {"rejected": 2, "deadline": 7}
    assert stats["batch_rows"] == {1: 7, 8: 4}
    assert stats["queue_depth"] == 6
    assert stats["run_ns"] == {"buckets": [(10, 7), (None, 2)], "sum_ns": 35, "count": 7}


def test_load_is_averaged_and_the_longest_wait_counts():
    parts = [loop(1, m=servable(1, load=0.2, wait_ns=5)), loop(1, m=servable(1, load=0.6))]
    stats = merge(parts).servables[("m", 1)]
    assert stats["load"] == 0.4
    assert stats["expected_wait_ns"] == 5


def test_a_version_that_only_one_loop_has_is_shown():
    total = merge([loop(1, a=servable(1)), loop(1, b=servable(2))])
    assert {key[0]: stats["success"] for key, stats in total.servables.items()} == {"a": 1, "b": 2}


def test_what_a_loop_counted_outlives_it_and_what_it_had_does_not():
    tally = Tally()
    tally.update("first", loop(10, m=servable(6, depth=3, load=0.5)))
    tally.update("second", loop(1, m=servable(1)))
    tally.end("first")
    total = tally.total()
    assert total.gateway["requests"] == 11
    assert total.gateway["slab_bytes"] == 100
    assert total.connections == 2
    stats = total.servables[("m", 1)]
    assert (stats["success"], stats["queue_depth"], stats["load"]) == (7, 0, 0.0)


def test_a_loop_that_is_started_again_counts_on_top():
    tally = Tally()
    for key in ("first", "second", "third"):
        tally.update(key, loop(4))
        tally.update(key, loop(5))
        tally.end(key)
    tally.end("never seen")
    assert tally.total().gateway["requests"] == 15


def test_it_travels_as_json():
    stats = loop(3, m=servable(3))
    assert merge([LoopStats.from_json(json.loads(json.dumps(stats.to_json())))]) == merge([stats])
