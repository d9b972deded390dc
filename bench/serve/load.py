"""The two load generators: wrk for closed loops, openloop for latency at a given rate."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.serve import histogram
from bench.serve.payload import Request

SOURCE = Path(__file__).parent / "clients" / "openloop.cc"
POST_LUA = Path(__file__).parent / "clients" / "post.lua"
LATE_NS_MAX = 200_000
UNITS = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


class HasScratch(Protocol):
    """What a run has to know of its session."""

    @property
    def scratch(self) -> Path: ...
    @property
    def seconds(self) -> int: ...


class LoadError(Exception):
    """The load was not what it claims to be, so its figures are worth nothing."""


@dataclass(frozen=True)
class ClosedLoop:
    """What one wrk run did."""

    requests: int
    wall_s: float
    bytes_read: float

    @property
    def per_s(self) -> float:
        return self.requests / self.wall_s


def parse_wrk(output: str) -> ClosedLoop:
    """Reads wrk's summary; LoadError when any answer was not 2xx or any socket failed."""
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    if failed:
        raise LoadError(f"{failed.group(1)} answers were not 2xx")
    sockets = re.search(r"Socket errors: (.+)", output)
    if sockets:
        raise LoadError(f"socket errors: {sockets.group(1)}")
    summary = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m), ([\d.]+)([KMG]?B) read", output)
    if not summary:
        raise LoadError(f"wrk said nothing that can be read: {output.strip()[:200]!r}")
    requests, wall, wall_unit, size, size_unit = summary.groups()
    if int(requests) == 0:
        raise LoadError("not one request was answered")
    wall_s = float(wall) * {"ms": 1e-3, "s": 1.0, "m": 60.0}[wall_unit]
    return ClosedLoop(int(requests), wall_s, float(size) * UNITS[size_unit])


def require_size(run: ClosedLoop, response_bytes: int, connections: int) -> None:
    """Refuses a run whose answers were not as long as the checked one.

    wrk also counts the bytes of answers that the end cut off, one per connection at most.
    """
    low = run.requests * response_bytes * 0.97
    high = (run.requests + connections) * response_bytes * 1.03
    if not low <= run.bytes_read <= high:
        raise LoadError(
            f"{run.bytes_read / run.requests:.0f} bytes per answer, expected {response_bytes}"
        )


def run_wrk(
    port: int, request: Request, connections: int, seconds: int, scratch: Path
) -> ClosedLoop:
    """Keeps `connections` requests in flight from one thread."""
    body = scratch / "body.bin"
    body.write_bytes(request.body)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(POST_LUA), f"http://127.0.0.1:{port}{request.path}", "--", str(body)]
    command += [f"{name}: {value}" for name, value in request.headers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode != 0:
        raise LoadError(f"wrk failed: {done.stderr.strip()[:200]}")
    return parse_wrk(done.stdout)


def parse_h2load(output: str) -> ClosedLoop:
    """Reads h2load's summary; LoadError when any request failed, or an RPC was not OK."""
    summary = re.search(
        r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed,"
        r" (\d+) errored, (\d+) timeout",
        output,
    )
    wall = re.search(r"finished in ([\d.]+)(ms|s|us)", output)
    size = re.search(r"traffic: .*, ([\d.]+)([KMG]?B) \(\d+\) data", output)
    if not summary or not wall or not size:
        raise LoadError(f"h2load said nothing that can be read: {output.strip()[:200]!r}")
    _, succeeded, *wrong = map(int, summary.groups())
    if any(wrong) or succeeded == 0:
        raise LoadError(f"h2load: {summary.group()}")
    wall_s = float(wall[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[wall[2]]
    return ClosedLoop(succeeded, wall_s, float(size[1]) * UNITS[size[2]])


@dataclass(frozen=True)
class Http2Load:
    """A closed loop of h2load: each connection keeps so many streams in flight."""

    port: int
    path: str
    body: bytes
    connections: int
    streams: int
    headers: tuple[tuple[str, str], ...] = (
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
    window_bits: int = 16
    is_http1: bool = False

    def run(self, session: HasScratch) -> ClosedLoop:
        body = session.scratch / "body.bin"
        body.write_bytes(self.body)
        command = ["h2load", "-D", str(session.seconds), f"-c{self.connections}", "-d", str(body)]
        if self.is_http1:
            command.append("--h1")
        else:
            command += [f"-m{self.streams}", f"-w{self.window_bits}", f"-W{self.window_bits}"]
        for name, value in self.headers:
            command += ["-H", f"{name}: {value}"]
        command.append(f"http://127.0.0.1:{self.port}{self.path}")
        done = subprocess.run(command, capture_output=True, text=True, timeout=session.seconds + 60)
        if done.returncode != 0:
            raise LoadError(f"h2load failed: {done.stderr.strip()[:200]}")
        seen = parse_h2load(done.stdout)
        # A failed RPC is a 200 without data.
        if seen.bytes_read / seen.requests < len(self.body) / 2:
            raise LoadError(f"answers of {seen.bytes_read / seen.requests:.0f} bytes: RPCs failed")
        return seen


@dataclass(frozen=True)
class OpenLoop:
    """What one open-loop run saw; `refused` holds the answers that were not 2xx."""

    rate_per_s: float
    completed: int
    queued: int
    late_p99_ns: int
    histogram: dict[int, int]
    refused: dict[int, int]


def parse_openloop(output: str, *, may_refuse: bool = False) -> OpenLoop:
    """Reads the client's JSON; LoadError when an answer is missing, or not 2xx and none may be."""
    seen = json.loads(output)
    if seen["non_2xx"] and not may_refuse:
        raise LoadError(f"{seen['non_2xx']} answers were not 2xx")
    if seen["unanswered"]:
        raise LoadError(f"{seen['unanswered']} requests were never answered")
    return OpenLoop(
        seen["rate_per_s"],
        seen["completed"],
        seen["queued"],
        seen["late_p99_ns"],
        histogram.parse(seen["histogram"]),
        histogram.parse(seen["refused"]),
    )


def run_openloop(
    client: Path,
    port: int,
    request: Request,
    connections: int,
    rate_per_s: float,
    seconds: float,
    seed: int,
    scratch: Path,
    *,
    may_refuse: bool = False,
    answers: Path | None = None,
) -> OpenLoop:
    """Sends at a rate, with Poisson gaps, whatever the server does; `answers` gets a line of each
    answer (openloop.cc)."""
    whole = scratch / "request.bin"
    whole.write_bytes(request.encoded())
    words = [str(number) for number in (connections, rate_per_s, seconds, 0.3, seed)]
    words += [str(answers)] if answers is not None else []
    done = subprocess.run(
        [str(client), str(port), str(whole), *words],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    if done.returncode != 0:
        raise LoadError(f"openloop failed: {done.stderr.strip()[:200]}")
    return parse_openloop(done.stdout, may_refuse=may_refuse)


def built_client(build: Path) -> Path:
    """The open-loop client, compiled when it is missing or older than its source."""
    program = build / "openloop"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        build.mkdir(parents=True, exist_ok=True)
        command = ["g++", "-std=c++20", "-O2", "-Wall", "-o", str(program), str(SOURCE)]
        subprocess.run(command, check=True)
    return program
