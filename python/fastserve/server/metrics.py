"""The metrics in Prometheus' text format.

The core counts; nothing is counted here. This module is imported at the first request for
/metrics, because prometheus_client takes longer to import than the server to start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from fastserve import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
_LABELS = ("model", "version")
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class VersionStats:
    """One served version: its labels and what Servable.stats() said."""

    model: str
    version: int
    load_ns: int
    stats: Mapping[str, Any]

    @property
    def labels(self) -> list[str]:
        return [self.model, str(self.version)]


@dataclass(frozen=True)
class Snapshot:
    """Everything that one scrape shows. `states` is (model, version) -> its state.

    A model that has no version to show, since its config is wrong, has the version "".
    """

    versions: tuple[VersionStats, ...]
    gateway: Mapping[str, int]
    connections: int
    in_flight: int
    states: Mapping[tuple[str, str], str]
    loops: Mapping[str, int] = field(default_factory=dict)
    loop_restarts: int = 0
    pids: Sequence[int] = ()  # Of the processes that serve beside this one.
    shared_memory: Mapping[str, int] = field(default_factory=dict)  # Empty where nobody may.
    shm: Mapping[str, int] = field(default_factory=dict)  # Of --shm-socket; empty without.


def render(snapshot: Snapshot) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    registry.register(_Processes(snapshot.pids))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        yield from _server(self._snapshot)
        yield from _shared_memory(self._snapshot.shared_memory)
        yield from _shm(self._snapshot.shm)
        yield from _requests(self._snapshot.versions)
        yield from _batches(self._snapshot.versions)
        yield from _durations(self._snapshot.versions)


class _Processes(Collector):
    """What this process and those beside it use, as one: the parent of loops does next to nothing.

    CPU time of those that are gone is their parent's now: it must not go backwards.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        own = list(ProcessCollector(registry=None).collect())
        others = [
            {
                metric.name: metric
                for metric in ProcessCollector(pid=_always(pid), registry=None).collect()
            }
            for pid in self._pids
        ]
        for metric in own:
            if metric.name not in ("process_start_time_seconds", "process_max_fds"):
                metric.samples = [self._total(metric, others)]
            yield metric

    def _total(self, metric: Metric, others: Sequence[Mapping[str, Metric]]) -> Sample:
        (own,) = metric.samples
        found = [other[metric.name] for other in others if metric.name in other]
        values = [own.value, *(sample.value for item in found for sample in item.samples)]
        if metric.name == "process_cpu_seconds":
            times = os.times()
            return own._replace(
                value=_in_ticks(*values, times.children_user, times.children_system)
            )
        return own._replace(value=sum(values))


def _in_ticks(*seconds: float) -> float:
    """The sum, counted in the kernel's clock ticks as it counts them.

    A sum of floats depends on their order, and a loop's time moves from one addend to another when
    the loop ends: a counter that goes back by one bit is one that began anew to Prometheus.
    """
    per_second = os.sysconf("SC_CLK_TCK")
    return sum(round(one * per_second) for one in seconds) / per_second


def _always(pid: int) -> Callable[[], int]:
    return lambda: pid


def _server(snapshot: Snapshot) -> Iterator[Metric]:
    build = GaugeMetricFamily("fastserve_build_info", "Always 1.", labels=("version",))
    build.add_metric([__version__], 1)
    yield build
    ready = GaugeMetricFamily(
        "fastserve_model_ready", "1 while the version is served.", labels=_LABELS
    )
    state_now = GaugeMetricFamily(
        "fastserve_model_state", "1 for the state a version is in.", labels=(*_LABELS, "state")
    )
    for (model, version), state in snapshot.states.items():
        ready.add_metric([model, version], int(state == "READY"))
        state_now.add_metric([model, version, state], 1)
    yield from (ready, state_now)
    loops = GaugeMetricFamily("fastserve_loops", "Event loops by state.", labels=("state",))
    for state, count in snapshot.loops.items():
        loops.add_metric([state], count)
    yield loops
    yield CounterMetricFamily(
        "fastserve_loop_restarts",
        "Event loops that ended and were started again.",
        value=snapshot.loop_restarts,
    )
    yield from _gateway(snapshot)


def _shared_memory(stats: Mapping[str, int]) -> Iterator[Metric]:
    for key, help_text in (
        ("regions", "Regions of shared memory that clients have registered."),
        ("bytes", "Bytes of those regions."),
        ("retired", "Regions that were unregistered while requests used them, and still are."),
    ):
        if key in stats:
            yield GaugeMetricFamily(f"fastserve_shared_memory_{key}", help_text, value=stats[key])
    if "poisoned" in stats:
        yield CounterMetricFamily(
            "fastserve_shared_memory_poisoned",
            "Regions that clients took away while the server used them.",
            value=stats["poisoned"],
        )


def _shm(stats: Mapping[str, int]) -> Iterator[Metric]:
    if not stats:
        return
    for name, help_text, key in (
        ("clients", "Clients over shared memory that are connected now.", "clients"),
        ("in_flight_requests", "Requests of theirs that are not answered yet.", "in_flight"),
        ("segment_bytes", "Bytes of their segments, touched or not.", "segment_bytes"),
    ):
        yield GaugeMetricFamily(f"fastserve_shm_{name}", help_text, value=stats[key])
    for name, help_text, key in (
        ("clients_opened", "Clients over shared memory that were let in.", "clients_opened"),
        ("clients_refused", "Clients over shared memory that were not.", "clients_refused"),
        ("requests", "Requests over shared memory.", "requests"),
        ("responses", "Responses over shared memory; of a stream each one.", "responses"),
        ("violations", "Clients over shared memory that broke its rules.", "violations"),
    ):
        yield CounterMetricFamily(f"fastserve_shm_{name}", help_text, value=stats[key])
    ends = CounterMetricFamily(
        "fastserve_shm_ends", "Requests over shared memory that ended, by code.", labels=("code",)
    )
    for key in sorted({"ends_OK", *stats}):
        if key.startswith("ends_"):
            ends.add_metric([key.removeprefix("ends_")], stats.get(key, 0))
    yield ends


def _gateway(snapshot: Snapshot) -> Iterator[Metric]:
    stats = snapshot.gateway
    for name, help_text, value in (
        ("connections", "Connections open now.", snapshot.connections),
        ("in_flight_requests", "Requests received, not yet answered.", snapshot.in_flight),
        ("in_flight_bytes", "Bytes of request bodies held now.", stats.get("in_flight_bytes", 0)),
        (
            "slab_bytes",
            "Bytes of the pool that bodies and tensors live in.",
            stats.get("slab_bytes"),
        ),
        (
            "slab_free_bytes",
            "Bytes of the pool that nobody uses now.",
            stats.get("slab_bytes_free"),
        ),
        ("slabs", "Blocks of the pool.", stats.get("slabs")),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"fastserve_{name}", help_text, value=value)
    by_reason = {
        key.removeprefix("closes_"): count
        for key, count in stats.items()
        if key.startswith("closes_")
    }
    closes = CounterMetricFamily(
        "fastserve_connection_closes", "Connections closed, by why.", labels=("reason",)
    )
    for reason, count in by_reason.items():
        closes.add_metric([reason], count)
    yield closes
    for name, help_text, key in (
        ("http_requests", "HTTP requests of all kinds.", "requests"),
        ("connections_opened", "Connections accepted.", "connections_opened"),
        ("connections_closed", "Connections closed.", "connections_closed"),
        ("received_bytes", "Bytes read from connections.", "bytes_in"),
        ("sent_bytes", "Bytes written to connections.", "bytes_out"),
        ("access_records_dropped", "Requests missing in the access log.", "access_records_dropped"),
        ("traces_lost", "Traces that were made and could not be written.", "traces_lost"),
        (
            "connections_rejected_per_client",
            "Connections refused since their client had as many as it may.",
            "rejected_per_client",
        ),
        ("http2_connections", "Connections accepted that speak HTTP/2.", "http2_connections"),
        (
            "http2_floods",
            "Connections that ended since their client did too often what is of no use.",
            "http2_floods",
        ),
        ("results_dropped", "Answers of a model that came after the deadline.", "results_dropped"),
    ):
        yield CounterMetricFamily(f"fastserve_{name}", help_text, value=stats.get(key, 0))
    yield from _responses(stats)


def _responses(stats: Mapping[str, int]) -> Iterator[Metric]:
    responses = CounterMetricFamily(
        "fastserve_http_responses", "HTTP responses by status.", labels=("status",)
    )
    for key in sorted(stats):
        if key.startswith("responses_"):
            responses.add_metric([key.removeprefix("responses_")], stats[key])
    yield responses
    rpcs = CounterMetricFamily("fastserve_grpc_responses", "RPCs ended, by code.", labels=("code",))
    for key in sorted({"grpc_responses_OK", *stats}):
        if key.startswith("grpc_responses_"):
            rpcs.add_metric([key.removeprefix("grpc_responses_")], stats.get(key, 0))
    yield rpcs


def _requests(versions: Iterable[VersionStats]) -> Iterator[Metric]:
    answered = CounterMetricFamily(
        "fastserve_requests", "Inference requests answered with tensors.", labels=_LABELS
    )
    failures = CounterMetricFamily(
        "fastserve_request_failures",
        "Inference requests that failed, by reason.",
        labels=(*_LABELS, "reason"),
    )
    depth = GaugeMetricFamily(
        "fastserve_queue_depth", "Requests waiting for the model now.", labels=_LABELS
    )
    load = GaugeMetricFamily(
        "fastserve_model_load_duration_seconds", "Time to load and warm up.", labels=_LABELS
    )
    busy = GaugeMetricFamily(
        "fastserve_busy_ratio",
        "Share of the instances' time spent running, over about the last second.",
        labels=_LABELS,
    )
    instances = GaugeMetricFamily("fastserve_instances", "Instances of the model.", labels=_LABELS)
    wait = GaugeMetricFamily(
        "fastserve_expected_wait_seconds",
        "Time that a request which comes now would wait for its answer; 0 while unknown.",
        labels=_LABELS,
    )
    for item in versions:
        answered.add_metric(item.labels, item.stats["success"])
        for reason, count in item.stats["failure"].items():
            failures.add_metric([*item.labels, reason], count)
        depth.add_metric(item.labels, item.stats["queue_depth"])
        load.add_metric(item.labels, item.load_ns / 1e9)
        busy.add_metric(item.labels, item.stats["load"])
        wait.add_metric(item.labels, item.stats["expected_wait_ns"] / 1e9)
        if "instances" in item.stats:
            instances.add_metric(item.labels, item.stats["instances"])
    yield from (answered, failures, depth, load, busy, wait, instances)


def _batches(versions: Iterable[VersionStats]) -> Iterator[Metric]:
    rows = CounterMetricFamily("fastserve_rows", "Rows inferred.", labels=_LABELS)
    executions = CounterMetricFamily(
        "fastserve_executions", "Runs of the model, each over one batch.", labels=_LABELS
    )
    caller_runs = CounterMetricFamily(
        "fastserve_caller_runs",
        "Executions on the event loop's thread; divide by fastserve_executions_total.",
        labels=_LABELS,
    )
    closes = CounterMetricFamily(
        "fastserve_batch_closes", "Batches by why they closed.", labels=(*_LABELS, "reason")
    )
    sizes = HistogramMetricFamily("fastserve_batch_rows", "Rows in a batch.", labels=_LABELS)
    for item in versions:
        stats = item.stats
        rows.add_metric(item.labels, stats["rows"])
        executions.add_metric(item.labels, stats["executions"])
        caller_runs.add_metric(item.labels, stats["caller_runs"])
        for reason, count in stats["close_reasons"].items():
            closes.add_metric([*item.labels, reason], count)
        batches: Mapping[int, int] = stats["batch_rows"]
        buckets = [
            (str(limit), float(sum(n for size, n in batches.items() if size <= limit)))
            for limit in _BATCH_BUCKETS
        ]
        buckets.append(("+Inf", float(sum(batches.values()))))
        total = sum(size * n for size, n in batches.items())
        sizes.add_metric(item.labels, buckets=buckets, sum_value=float(total))
    yield from (rows, executions, caller_runs, closes, sizes)


_PHASES = (
    ("receive", "Time from a request's first byte to its last."),
    ("queue", "Time that requests wait before their batch runs."),
    ("stage", "Time to gather a batch."),
    ("run", "Time that the model runs."),
    ("finish", "Time to check a batch's answer and hand out its rows."),
    ("send", "Time from the end of a model's run until the answer is handed to the socket."),
    ("request", "Time from a request's last byte to its answer."),
)


def _durations(versions: tuple[VersionStats, ...]) -> Iterator[Metric]:
    for phase, help_text in _PHASES:
        family = HistogramMetricFamily(
            f"fastserve_{phase}_duration_seconds", help_text, labels=_LABELS
        )
        for item in versions:
            histogram = item.stats[f"{phase}_ns"]
            family.add_metric(
                item.labels,
                buckets=_cumulative(histogram["buckets"]),
                sum_value=histogram["sum_ns"] / 1e9,
            )
        yield family


def _cumulative(buckets: Iterable[tuple[int | None, int]]) -> list[tuple[str, float]]:
    """The core's buckets each count their own; Prometheus' count all that is smaller as well."""
    total = 0
    answer = []
    for limit_ns, count in buckets:
        total += count
        answer.append(("+Inf" if limit_ns is None else repr(limit_ns / 1e9), float(total)))
    if not answer or answer[-1][0] != "+Inf":
        answer.append(("+Inf", float(total)))
    return answer
