"""What a running server says about itself, in plain words: health, models, and its metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fastserve.cli.diagnosis.finding import Finding, fail, ok, warn
from fastserve.cli.exchange import Peer, RequestFailed

_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_BUSY_RATIO = 0.9
_FILES_USED_RATIO = 0.8


@dataclass(frozen=True)
class Sample:
    labels: Mapping[str, str]
    value: float


class Scrape:
    """The samples of /metrics by name."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[Sample]] = {}
        for line in text.splitlines():
            found = None if line.startswith("#") else _SAMPLE.fullmatch(line)
            if found:
                labels = dict(_LABEL.findall(found[2] or ""))
                self._samples.setdefault(found[1], []).append(Sample(labels, float(found[3])))

    def of(self, name: str, **labels: str) -> list[Sample]:
        """Those that are not 0 and have the labels."""
        return [
            sample
            for sample in self._samples.get(name, [])
            if sample.value and labels.items() <= sample.labels.items()
        ]

    def sum(self, name: str, **labels: str) -> float:
        return sum(sample.value for sample in self.of(name, **labels))


def findings(peer: Peer) -> Iterator[Finding]:
    try:
        peer.get_json(peer.at("/v2/health/live"))
    except RequestFailed as error:
        yield fail("server", error.message, "see its log; `fastserve run` starts one")
        return
    yield ok("server", "it lives")
    try:
        peer.get_json(peer.at("/v2/health/ready"))
        yield ok("readiness", "it is ready")
    except RequestFailed as error:
        yield fail("readiness", error.message, "no traffic is sent to it until it is ready")
    try:
        yield from _models(peer)
        yield from troubles(Scrape(peer.get_text(peer.at("/metrics"))))
    except RequestFailed as error:
        yield warn("metrics", error.message, "nothing more can be said about it")


def _models(peer: Peer) -> Iterator[Finding]:
    models = peer.get_json(peer.at("/")).get("models", {})
    if not models:
        yield warn("models", "none", "name one when it is started: fastserve run PATH")
    for name, model in models.items():
        if model.get("versions"):
            yield ok("model", f"{name}: {', '.join(f'version {v}' for v in model['versions'])}")
        else:
            reason = model.get("reason", "no reason given")
            yield fail("model", f"{name} is not served: {reason}", "fastserve check says more")


def troubles(scrape: Scrape) -> Iterator[Finding]:
    """What the counters since the start, and the gauges of now, point at."""
    found = [*_of_models(scrape), *_of_server(scrape)]
    yield from found or [ok("metrics", "nothing in them points at trouble")]


_FAILURES = {
    "rejected": (
        "were refused at once: the queue was full, or the deadline could not be met",
        "more --instances or --loops, a longer --queue-depth, or fewer clients",
    ),
    "deadline": (
        "were too late for their deadline",
        "longer deadlines, or more --instances; look at fastserve_queue_duration_seconds",
    ),
    "backend": ("failed in the engine", "the log and the clients' answers say why"),
}


def _of_models(scrape: Scrape) -> Iterator[Finding]:
    for reason, (what, fix) in _FAILURES.items():
        for sample in scrape.of("fastserve_request_failures_total", reason=reason):
            answered = scrape.sum("fastserve_requests_total", model=sample.labels["model"])
            share = sample.value / (sample.value + answered)
            text = f"{sample.value:.0f} requests ({share:.1%}) {what}"
            yield warn("model", f"{_version(sample)}: {text}", fix)
    for sample in scrape.of("fastserve_queue_depth"):
        wait_s = scrape.sum("fastserve_expected_wait_seconds", **sample.labels)
        expected = f", the next is answered in about {wait_s * 1e3:.3g} ms" if wait_s else ""
        yield ok("model", f"{_version(sample)}: {sample.value:.0f} requests wait now{expected}")
    for sample in scrape.of("fastserve_busy_ratio"):
        if sample.value > _BUSY_RATIO:
            yield warn(
                "model",
                f"{_version(sample)}: its instances are busy {sample.value:.0%} of the time",
                "more --instances, larger batches (--max-queue-delay), or more machines",
            )


def _of_server(scrape: Scrape) -> Iterator[Finding]:
    restarts = scrape.sum("fastserve_loop_restarts_total")
    if restarts:
        yield warn(
            "loops", f"{restarts:.0f} times an event loop was started again", "the log says why"
        )
    absent = {
        sample.labels["state"]: int(sample.value)
        for sample in scrape.of("fastserve_loops")
        if sample.labels["state"] != "serving"
    }
    if absent:
        shown = ", ".join(f"{count} {state}" for state, count in absent.items())
        yield warn("loops", f"not all serve: {shown}", "the log says why")
    for name, what, fix in (
        (
            "fastserve_connections_rejected_per_client_total",
            "connections were refused: their client had as many as it may",
            "a client that reuses its connections, or a higher --max-connections-per-client",
        ),
        (
            "fastserve_access_records_dropped_total",
            "requests are missing in the access log",
            "the server is too busy to write it: more --loops, or no --access-log",
        ),
    ):
        count = scrape.sum(name)
        if count:
            yield warn("clients", f"{count:.0f} {what}", fix)
    count = scrape.sum("fastserve_connection_closes_total", reason="limit")
    if count:
        yield warn(
            "clients",
            f"{count:.0f} connections were closed at a limit",
            "--max-connections, --max-in-flight and --max-body are the limits",
        )
    broken = sum(
        sample.value
        for sample in scrape.of("fastserve_http_responses_total")
        if sample.labels.get("status") == "500"
    )
    if broken:
        yield warn("answers", f"{broken:.0f} were 500", "the log has their tracebacks")
    files, most = scrape.sum("process_open_fds"), scrape.sum("process_max_fds")
    if most and files > _FILES_USED_RATIO * most:
        yield warn("open files", f"{files:.0f} of {most:.0f} are open", "raise ulimit -n")


def _version(sample: Sample) -> str:
    return f"{sample.labels.get('model')} version {sample.labels.get('version')}"
