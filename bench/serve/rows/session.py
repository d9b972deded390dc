"""What all rows share: where things are, and how one run of one contestant is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.serve import exchange, histogram, load, payload, procfs
from bench.serve.exchange import Response
from bench.serve.installation import Installation
from bench.serve.pairing import rotated
from bench.serve.payload import Request
from bench.serve.processes import Server, is_ready
from bench.serve.report import Figure

REFERENCES = Path(__file__).parent.parent / "references"
OPEN_ROUNDS = 3
LOAD_SHARE = 0.3


class WrongAnswerError(Exception):
    """A server answered, but not with what was asked; nothing of it is reported."""


@dataclass(frozen=True)
class Contestant:
    """A server and the check that its answer must pass before each of its runs."""

    server: Server
    check: Callable[[Response], None]

    @property
    def name(self) -> str:
        return self.server.name


@dataclass(frozen=True)
class Sample:
    """One closed-loop run."""

    contestant: str
    connections: int
    requests: int
    wall_s: float
    cpu_s: float

    @property
    def per_cpu_s(self) -> float:
        return self.requests / self.cpu_s

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.requests * 1e6

    @property
    def per_s(self) -> float:
        return self.requests / self.wall_s

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Session:
    """The settings of one invocation."""

    root: Path
    installation: Installation
    executable: Path
    client: Path
    scratch: Path
    pairs: int
    seconds: int

    def serve(self, name: str, repository: Path, *flags: str) -> Server:
        """fastserve on a model repository."""
        command = [str(self.executable), "run", str(repository), "--port", "{port}", *flags]
        return Server(name, command, self.scratch)

    def reference(
        self, name: str, program: str, *arguments: str, ready: Callable[[int], bool] = is_ready
    ) -> Server:
        """One of the servers in references/, on the port given as its first argument."""
        module = f"bench.serve.references.{program}"
        command = [str(self.installation.python), "-m", module, "{port}", *arguments]
        return Server(name, command, self.scratch, cwd=self.root, ready=ready)

    def identity_repository(self, elements: int) -> tuple[Path, str]:
        """A repository with one identity model of so many floats, and the model's name."""
        model = f"identity{elements}"
        repository = self.scratch / f"repository_{model}"
        payload.write_model(repository, model, payload.identity_config(model, elements))
        return repository, model

    def closed_run(self, contestant: Contestant, request: Request, connections: int) -> Sample:
        """Checks one answer, then keeps the server busy and meters its process tree."""
        server = contestant.server
        answer = exchange.exchange(server.port, request.encoded())
        contestant.check(answer)
        before = server.cpu_ticks()
        run = load.run_wrk(server.port, request, connections, self.seconds, self.scratch)
        ticks = server.cpu_ticks() - before
        load.require_size(run, len(answer.raw), connections)
        if ticks < 10:
            raise load.LoadError(f"{server.name} used {ticks} ticks: too few to measure")
        cpu_s = ticks / procfs.TICKS_PER_S
        return Sample(server.name, connections, run.requests, run.wall_s, cpu_s)

    def closed_rounds(
        self, contestants: Sequence[Contestant], request: Request, connections: int
    ) -> dict[str, list[Sample]]:
        """`pairs` rounds in which every contestant runs once, in rotated order."""
        samples: dict[str, list[Sample]] = {contestant.name: [] for contestant in contestants}
        for round_index in range(self.pairs):
            for contestant in rotated(contestants, round_index):
                sample = self.closed_run(contestant, request, connections)
                samples[contestant.name].append(sample)
        return samples

    def latency(
        self,
        contestants: Sequence[Contestant],
        request: Request,
        connections: int,
        rates_per_s: Mapping[str, float],
    ) -> tuple[list[Figure], list[dict[str, Any]], list[str]]:
        """p50 and p99 of each contestant at its rate, pooled over alternating windows."""
        windows: dict[str, list[load.OpenLoop]] = {
            contestant.name: [] for contestant in contestants
        }
        for round_index in range(OPEN_ROUNDS):
            for contestant in rotated(contestants, round_index):
                port = contestant.server.port
                contestant.check(exchange.exchange(port, request.encoded()))
                seen = load.run_openloop(
                    self.client,
                    port,
                    request,
                    connections,
                    rates_per_s[contestant.name],
                    self.seconds,
                    round_index + 1,
                    self.scratch,
                )
                windows[contestant.name].append(seen)
        return _latency_figures(windows, connections)


def _latency_figures(
    windows: Mapping[str, Sequence[load.OpenLoop]], connections: int
) -> tuple[list[Figure], list[dict[str, Any]], list[str]]:
    figures: list[Figure] = []
    runs: list[dict[str, Any]] = []
    notes: list[str] = []
    for name, seen in windows.items():
        pool = histogram.merged(window.histogram for window in seen)
        rate = seen[0].rate_per_s
        for percent in (50, 99):
            value_us = histogram.percentile_ns(pool, percent) / 1e3
            label = f"c={connections} p{percent} at {rate:,.0f}/s, {name}"
            figures.append(Figure(label, value_us, "us"))
        runs += [
            {"contestant": name, "connections": connections, "open_loop": asdict(window)}
            for window in seen
        ]
    late_ns = max(window.late_p99_ns for seen in windows.values() for window in seen)
    if late_ns > load.LATE_NS_MAX:
        late = f"p99 {late_ns / 1e3:,.0f} us late at c={connections}"
        notes.append(f"the open-loop client itself was {late}; read no tail latency there")
    return figures, runs, notes


def require(condition: bool, message: str) -> None:
    if not condition:
        raise WrongAnswerError(message)


def require_echo(response: Response, data: bytes) -> None:
    """The binary answer of an identity model: 200 and the very bytes that were sent."""
    require(response.status == 200, f"status {response.status}: {response.body[:300]!r}")
    head_bytes = int(response.headers.get("inference-header-content-length", "0"))
    _, tail = payload.binary_answer(response.body, head_bytes)
    require(tail == data, "the answer's tensor is not the tensor that was sent")
