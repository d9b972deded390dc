"""The exposition follows Prometheus' conventions, under the names that others read."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from fastserve.server.metrics import Snapshot, VersionStats, render
from tests.proc import needs_own_proc


def histogram(*counts: int) -> dict[str, Any]:
    limits = [10_000, 2_500_000, None]
    buckets = list(zip(limits, counts, strict=True))
    return {"buckets": buckets, "sum_ns": 1_500_000_000, "count": sum(counts)}


STATS = {
    "success": 5,
    "rows": 12,
    "executions": 3,
    "failure": {"rejected": 1, "cancelled": 0, "deadline": 0, "invalid": 2, "backend": 0},
    "close_reasons": {"full": 1, "preferred": 0, "idle": 2, "delay": 0},
    "batch_rows": {1: 1, 3: 1, 8: 1},
    "queue_depth": 4,
    "load": 0.25,
    "expected_wait_ns": 3_000_000,
    "instances": 2,
    "caller_runs": 2,
    "receive_ns": histogram(5, 0, 0),
    "queue_ns": histogram(1, 2, 3),
    "stage_ns": histogram(3, 0, 0),
    "run_ns": histogram(0, 3, 0),
    "finish_ns": histogram(3, 0, 0),
    "send_ns": histogram(5, 0, 0),
    "request_ns": histogram(0, 5, 0),
}
GATEWAY = {
    "requests": 9,
    "connections_opened": 4,
    "connections_closed": 3,
    "bytes_in": 100,
    "bytes_out": 200,
    "in_flight_bytes": 64,
    "responses_200": 7,
    "responses_404": 2,
    "access_records_dropped": 0,
}
SNAPSHOT = Snapshot(
    versions=(VersionStats('di"g\\its', 2, 250_000_000, STATS),),
    gateway=GATEWAY,
    connections=1,
    in_flight=2,
    states={('di"g\\its', "2"): "READY", ("bad", ""): "FAILED"},
)


@pytest.fixture(scope="module")
def text() -> str:
    return render(SNAPSHOT).decode()


@pytest.fixture(scope="module")
def families(text) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (name, labels, found)
    return float(found[0])


# What `promtool check metrics` would complain about.
def test_the_names_follow_the_conventions(text, families):
    for family in families.values():
        assert family.documentation, f"{family.name} has no HELP"
        is_total = [sample.name.endswith("_total") for sample in family.samples]
        if family.type == "counter":
            assert all(is_total), family.name
        else:
            assert not any(is_total), family.name
            assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
        assert not family.name.endswith(("_ns", "_ms", "_milliseconds", "_kb", "_info_total"))
        assert family.type in ("counter", "gauge", "histogram")
    helps = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert len(helps) == len(set(helps))


def test_requests_are_counted_by_model_and_version(families):
    labels = {"model": 'di"g\\its', "version": "2"}
    assert value(families, "fastserve_requests_total", **labels) == 5
    assert value(families, "fastserve_request_failures_total", reason="invalid", **labels) == 2
    assert value(families, "fastserve_rows_total", **labels) == 12
    assert value(families, "fastserve_executions_total", **labels) == 3
    assert value(families, "fastserve_caller_runs_total", **labels) == 2
    assert value(families, "fastserve_batch_closes_total", reason="idle", **labels) == 2
    assert value(families, "fastserve_queue_depth", **labels) == 4
    assert value(families, "fastserve_model_load_duration_seconds", **labels) == 0.25
    assert value(families, "fastserve_busy_ratio", **labels) == 0.25
    assert value(families, "fastserve_expected_wait_seconds", **labels) == 0.003


# The core's buckets each count their own; the exposition's count all that is smaller as well.
def test_histograms_are_cumulative_and_in_seconds(families):
    name = "fastserve_queue_duration_seconds"
    assert value(families, f"{name}_bucket", le="1e-05") == 1
    assert value(families, f"{name}_bucket", le="0.0025") == 3
    assert value(families, f"{name}_bucket", le="+Inf") == 6
    assert value(families, f"{name}_count") == 6
    assert value(families, f"{name}_sum") == 1.5
    assert value(families, "fastserve_batch_rows_bucket", le="2") == 1
    assert value(families, "fastserve_batch_rows_bucket", le="4") == 2
    assert value(families, "fastserve_batch_rows_bucket", le="+Inf") == 3
    assert value(families, "fastserve_batch_rows_sum") == 12


def test_the_gateway_and_the_process_are_told(families):
    assert value(families, "fastserve_connections") == 1
    assert value(families, "fastserve_in_flight_requests") == 2
    assert value(families, "fastserve_in_flight_bytes") == 64
    assert value(families, "fastserve_received_bytes_total") == 100
    assert value(families, "fastserve_http_responses_total", status="404") == 2
    for name in ("cpu_seconds_total", "resident_memory_bytes", "start_time_seconds", "open_fds"):
        assert value(families, f"process_{name}") > 0
    assert value(families, "fastserve_build_info") == 1


def test_states_are_told_also_of_models_that_have_no_version(families):
    assert value(families, "fastserve_model_ready", model='di"g\\its') == 1
    assert value(families, "fastserve_model_ready", model="bad") == 0
    assert value(families, "fastserve_model_state", model="bad", state="FAILED") == 1


# Label order matters to them: `model` first, then what follows in the alphabet.
@pytest.mark.parametrize("phase", ["receive", "queue", "stage", "run", "finish", "send", "request"])
def test_the_demo_and_the_benchmarks_find_their_numbers(text, phase):
    for part in ("sum", "count"):
        assert f'\nfastserve_{phase}_duration_seconds_{part}{{model="' in text
    for name in ("rows", "executions"):
        assert f'\nfastserve_{name}_total{{model="' in text


def test_a_server_without_models_yet_can_be_scraped():
    empty = Snapshot(versions=(), gateway=GATEWAY, connections=0, in_flight=0, states={})
    assert b"fastserve_http_requests_total 9.0" in render(empty)


def test_loops_are_told_by_state_with_their_restarts():
    families = parsed(replace(SNAPSHOT, loops={"serving": 2, "waiting": 1}, loop_restarts=3))
    assert value(families, "fastserve_loops", state="serving") == 2
    assert value(families, "fastserve_loops", state="waiting") == 1
    assert value(families, "fastserve_loop_restarts_total") == 3


def test_a_core_that_tells_more_is_shown_more():
    gateway = {
        **GATEWAY,
        "slab_bytes": 4096,
        "slab_bytes_free": 1024,
        "slabs": 2,
        "closes_idle": 5,
        "closes_drain": 0,
        "rejected_per_client": 6,
    }
    stats = {**STATS, "load": 0.25, "instances": 3, "expected_wait_ns": 1_500_000}
    versions = (VersionStats("digits", 1, 0, stats),)
    families = parsed(replace(SNAPSHOT, gateway=gateway, versions=versions))
    assert value(families, "fastserve_slab_bytes") == 4096
    assert value(families, "fastserve_slab_free_bytes") == 1024
    assert value(families, "fastserve_slabs") == 2
    assert value(families, "fastserve_connection_closes_total", reason="idle") == 5
    assert value(families, "fastserve_connection_closes_total", reason="drain") == 0
    assert value(families, "fastserve_connections_rejected_per_client_total") == 6
    assert value(families, "fastserve_busy_ratio", model="digits") == 0.25
    assert value(families, "fastserve_instances", model="digits") == 3
    assert value(families, "fastserve_expected_wait_seconds", model="digits") == 0.0015


def test_clients_over_shared_memory_are_told_where_there_may_be_any():
    assert not any(name.startswith("fastserve_shm") for name in parsed(SNAPSHOT))
    counted = ("clients_opened", "clients_closed", "clients_refused", "requests", "responses")
    shm = dict.fromkeys(("clients", "in_flight", "segment_bytes", *counted, "violations"), 0)
    families = parsed(replace(SNAPSHOT, shm={**shm, "clients": 2, "in_flight": 3, "requests": 9}))
    assert value(families, "fastserve_shm_clients") == 2
    assert value(families, "fastserve_shm_in_flight_requests") == 3
    assert value(families, "fastserve_shm_segment_bytes") == 0
    assert value(families, "fastserve_shm_requests_total") == 9
    for name in ("clients_opened", "clients_refused", "responses", "violations"):
        assert value(families, f"fastserve_shm_{name}_total") == 0
    assert value(families, "fastserve_shm_ends_total", code="OK") == 0
    families = parsed(replace(SNAPSHOT, shm={**shm, "ends_OK": 4, "ends_NOT_FOUND": 1}))
    assert value(families, "fastserve_shm_ends_total", code="OK") == 4
    assert value(families, "fastserve_shm_ends_total", code="NOT_FOUND") == 1


# The parent of loops does next to nothing: what it uses is not what the server uses.
@needs_own_proc
def test_the_processes_of_the_loops_are_counted_with_their_parent():
    alone = value(parsed(SNAPSHOT), "process_resident_memory_bytes")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        families = parsed(replace(SNAPSHOT, pids=(child.pid, 2**22 + 1)))
        assert value(families, "process_resident_memory_bytes") > alone
        assert value(families, "process_start_time_seconds") > 0
        child.communicate(b"\n")


def parsed(snapshot: Snapshot) -> dict[str, Metric]:
    text = render(snapshot).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}
