"""ModelInfer over gRPC: beside gRPC's own servers, and beside our own HTTP for what is large."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench.serve import load, payload, procfs
from bench.serve.load import Http2Load, LoadError
from bench.serve.pairing import paired_ratios, rotated, spread
from bench.serve.processes import Server
from bench.serve.report import Figure, Row
from bench.serve.rows.session import REFERENCES, Sample, Session

SMALL, LARGE = 16, 150_528
# Connections, and streams on each.
SHAPES = ((1, 1), (8, 1), (8, 8))
GRPCPP_TARGETS = {(1, 1): 2.0, (8, 1): 2.0, (8, 8): 4.0}
AIO_SHAPE, AIO_TARGET = (8, 1), 12.0
LARGE_HTTP_TARGET, LARGE_GRPCPP_TARGET = 1.4, 1.5
RESPONSES, STREAM_TARGET = 1000, 1.0
MINE, GRPCPP, AIO, HTTP = "fastserve", "grpc++", "grpc.aio", "fastserve http"

Run = Callable[[], load.ClosedLoop]


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def built_reference(session: Session) -> Path:
    """The server over grpc++. Errors: FileNotFoundError saying what to install."""
    folder = session.scratch / "grpcpp"
    for step in (["-S", str(REFERENCES / "grpcpp"), "-B", str(folder)], ["--build", str(folder)]):
        done = subprocess.run(["cmake", *step], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise FileNotFoundError(
                "the grpc++ reference does not build; apt install libgrpc++-dev"
                f" protobuf-compiler-grpc libprotobuf-dev pkg-config: {done.stderr[-300:]}"
            )
    return folder / "grpcpp_reference"


def metered(server: Server, connections: int, run: Run) -> Sample:
    before = server.cpu_ticks()
    seen = run()
    ticks = server.cpu_ticks() - before
    if ticks < 10:
        raise LoadError(f"{server.name} used {ticks} ticks: too few to measure")
    return Sample(server.name, connections, seen.requests, seen.wall_s, ticks / procfs.TICKS_PER_S)


def rounds(
    session: Session, contestants: dict[str, Callable[[], Sample]]
) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    for number in range(session.pairs):
        for name in rotated(list(contestants), number):
            samples[name].append(contestants[name]())
    return samples


def run(session: Session) -> Row:
    row = Row("rpc")
    repository, model = session.identity_repository(SMALL)
    large_repository, large_model = session.identity_repository(LARGE)
    program = built_reference(session)
    with ExitStack() as stack:
        mine = stack.enter_context(session.serve(MINE, repository))
        large = stack.enter_context(session.serve(HTTP, large_repository))
        grpcpp = stack.enter_context(
            Server(GRPCPP, [str(program), "{port}"], session.scratch, ready=is_listening)
        )
        data = payload.floats(SMALL, seed=1)
        message = payload.grpc_request(model, "INPUT0", SMALL, data)
        answer = session.scratch / "constant.message"
        answer.write_bytes(payload.grpc_response(model, "OUTPUT0", SMALL, data))
        aio = stack.enter_context(
            session.reference(AIO, "grpc_aio", str(answer), ready=is_listening)
        )
        for shape in SHAPES:
            servers = [mine, grpcpp, *([aio] if shape == AIO_SHAPE else [])]
            row.figures += small(session, row, servers, message, shape)
        row.figures += of_large(session, row, large, grpcpp, large_model)
    row.figures += of_stream(session, row)
    return row


def small(
    session: Session, row: Row, servers: list[Server], message: bytes, shape: tuple[int, int]
) -> list[Figure]:
    connections, streams = shape

    def contestant(server: Server) -> Callable[[], Sample]:
        asked = Http2Load(server.port, payload.GRPC_PATH, message, connections, streams)
        return lambda: metered(server, connections, lambda: asked.run(session))

    samples = rounds(session, {server.name: contestant(server) for server in servers})
    row.runs += [run.plain() for runs in samples.values() for run in runs]
    rates = {name: [run.per_cpu_s for run in runs] for name, runs in samples.items()}
    label = f"c={connections}x{streams}"
    figures = [
        Figure.of(f"{label} per CPU-s, {name}", spread(values), "/s")
        for name, values in rates.items()
    ]
    targets = {GRPCPP: GRPCPP_TARGETS[shape], AIO: AIO_TARGET}
    figures += [
        Figure.of(
            f"{label} {MINE} / {name}", spread(paired_ratios(rates[MINE], rates[name])), "",
            targets[name],
        )
        for name in rates if name != MINE
    ]  # fmt: skip
    return figures


def of_stream(session: Session, row: Row) -> list[Figure]:
    """A response of a stream that has many, beside the one of a plain call."""
    repository = session.scratch / "repository_streams"
    payload.write_model(repository, "plain", payload.identity_config("plain", SMALL))
    many = payload.repeating_config("many", SMALL, RESPONSES)
    payload.write_model(repository, "many", many)
    data = payload.floats(SMALL, seed=3)
    with session.serve("streams", repository) as server:

        def contestant(path: str, model: str, responses: int) -> Callable[[], Sample]:
            message = payload.grpc_request(model, "INPUT0", SMALL, data)
            asked = Http2Load(server.port, path, message, 8, 1, window_bits=20)

            def run() -> Sample:
                seen = metered(server, 8, lambda: asked.run(session))
                return replace(seen, contestant=model, requests=seen.requests * responses)

            return run

        samples = rounds(
            session,
            {
                "plain": contestant(payload.GRPC_PATH, "plain", 1),
                "many": contestant(payload.GRPC_STREAM_PATH, "many", RESPONSES),
            },
        )
    row.runs += [run.plain() for of_one in samples.values() for run in of_one]
    cost = {name: [run.cpu_us for run in of_one] for name, of_one in samples.items()}
    return [
        Figure.of("CPU per unary response, c=8x1", spread(cost["plain"]), "us"),
        Figure.of(f"CPU per response of a stream of {RESPONSES}", spread(cost["many"]), "us"),
        Figure.of(
            f"response of a stream of {RESPONSES} / unary",
            spread(paired_ratios(cost["many"], cost["plain"])), "", STREAM_TARGET, "<=",
        ),
    ]  # fmt: skip


def of_large(
    session: Session, row: Row, server: Server, grpcpp: Server, model: str
) -> list[Figure]:
    """Each by h2load with 8 connections: over HTTP/1.1, and over gRPC with windows of 1 GiB."""
    data = payload.floats(LARGE, seed=2)
    http = payload.binary_request(model, "INPUT0", [LARGE], data)
    message = payload.grpc_request(model, "INPUT0", LARGE, data)
    over_http = Http2Load(
        server.port, http.path, http.body, 8, 1, headers=http.headers, is_http1=True
    )
    runs = {
        HTTP: lambda: metered(server, 8, lambda: over_http.run(session)),
        MINE: lambda: metered(server, 8, lambda: wide(server).run(session)),
        GRPCPP: lambda: metered(grpcpp, 8, lambda: wide(grpcpp).run(session)),
    }

    def wide(to: Server) -> Http2Load:
        return Http2Load(to.port, payload.GRPC_PATH, message, 8, 1, window_bits=30)

    samples = rounds(session, runs)
    row.runs += [run.plain() for of_one in samples.values() for run in of_one]
    cost = {name: [run.cpu_us for run in of_one] for name, of_one in samples.items()}
    return [
        *(
            Figure.of(f"602 KB, CPU per request, {name}", spread(values), "us")
            for name, values in cost.items()
        ),
        Figure.of(
            "602 KB, gRPC / our HTTP", spread(paired_ratios(cost[MINE], cost[HTTP])), "",
            LARGE_HTTP_TARGET, "<=",
        ),
        Figure.of(
            "602 KB, requests per CPU-s, fastserve / grpc++",
            spread(paired_ratios(cost[GRPCPP], cost[MINE])), "", LARGE_GRPCPP_TARGET,
        ),
    ]  # fmt: skip
