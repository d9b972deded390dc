"""The metrics in Prometheus' text format.

The core counts; nothing is counted here. This module is imported at the first request for
/metrics, because prometheus_client takes longer to import than the server to start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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


def render(snapshot: Snapshot) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        yield from _server(self._snapshot)
        yield from _requests(self._snapshot.versions)
        yield from _batches(self._snapshot.versions)
        yield from _durations(self._snapshot.versions)


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
    stats = snapshot.gateway
    for name, help_text, value in (
        ("connections", "Connections open now.", snapshot.connections),
        ("in_flight_requests", "Requests received, not yet answered.", snapshot.in_flight),
        ("in_flight_bytes", "Bytes of request bodies held now.", stats["in_flight_bytes"]),
    ):
        yield GaugeMetricFamily(f"fastserve_{name}", help_text, value=value)
    for name, help_text, key in (
        ("http_requests", "HTTP requests of all kinds.", "requests"),
        ("connections_opened", "Connections accepted.", "connections_opened"),
        ("connections_closed", "Connections closed.", "connections_closed"),
        ("received_bytes", "Bytes read from connections.", "bytes_in"),
        ("sent_bytes", "Bytes written to connections.", "bytes_out"),
        ("access_records_dropped", "Requests missing in the access log.", "access_records_dropped"),
    ):
        yield CounterMetricFamily(f"fastserve_{name}", help_text, value=stats.get(key, 0))
    responses = CounterMetricFamily(
        "fastserve_http_responses", "HTTP responses by status.", labels=("status",)
    )
    for key in sorted(stats):
        if key.startswith("responses_"):
            responses.add_metric([key.removeprefix("responses_")], stats[key])
    yield responses


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
    yield from (answered, failures, depth, load, busy, wait)


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


def _durations(versions: tuple[VersionStats, ...]) -> Iterator[Metric]:
    for phase, help_text in (
        ("receive", "Time from a request's first byte to its last."),
        ("queue", "Time that requests wait before their batch runs."),
        ("stage", "Time to gather a batch."),
        ("run", "Time that the model runs."),
        ("finish", "Time to check a batch's answer and hand out its rows."),
        ("send", "Time from the end of a model's run until the answer is handed to the socket."),
        ("request", "Time from a request's last byte to its answer."),
    ):
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
