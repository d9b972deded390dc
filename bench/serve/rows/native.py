"""Over shared memory: what a call costs client and server together, and whether clients meet."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence

from bench.serve import exchange, payload, procfs
from bench.serve.load import LoadError
from bench.serve.pairing import paired_ratios, rotated, spread
from bench.serve.processes import Server
from bench.serve.report import Figure, Row
from bench.serve.rows.client import asked
from bench.serve.rows.session import Sample, Session

SMALL, LARGE = 16, 150_528
NATIVE, IN_PLACE = "shared memory", "shared memory, in place"
HTTP, TRITON = "http", "tritonclient.http"
TRITON_TARGET, HTTP_TARGET, LARGE_TARGET = 3.0, 2.0, 20.0
CLIENTS, ROWS_MAX, FAIR_TARGET = 8, 8, 1.5
# A run of a model that is worth waiting for others: clients meet while it computes.
RUN_US = 500


def both(session: Session, server: Server, kind: str, model: str, elements: int) -> Sample:
    """One client's run, with the CPU time of both sides."""
    before = server.cpu_ticks()
    seen = asked(session, kind, f"127.0.0.1:{server.port}", model, elements)
    ticks = server.cpu_ticks() - before
    cpu_s = seen.cpu_s + ticks / procfs.TICKS_PER_S
    return Sample(kind, 1, seen.requests, seen.wall_s, cpu_s)


def costs(
    session: Session, row: Row, label: str, elements: int, kinds: Sequence[str]
) -> Mapping[str, list[float]]:
    """Requests per CPU-second of client and server, of each kind in each round."""
    repository, model = session.identity_repository(elements)
    samples: dict[str, list[Sample]] = {kind: [] for kind in kinds}
    with session.serve(f"native_{elements}", repository) as server:
        for number in range(session.pairs):
            for kind in rotated(list(kinds), number):
                samples[kind].append(both(session, server, kind, model, elements))
    row.runs += [{**run.plain(), "asked": label} for runs in samples.values() for run in runs]
    rates = {kind: [run.per_cpu_s for run in runs] for kind, runs in samples.items()}
    row.figures += [
        Figure.of(f"{label} per CPU-s of client and server, {kind}", spread(values), "/s")
        for kind, values in rates.items()
    ]
    return rates


def ratio(
    rates: Mapping[str, list[float]], label: str, one: str, other: str, target: float
) -> Figure:
    ratios = spread(paired_ratios(rates[one], rates[other]))
    return Figure.of(f"{label} {one} / {other}", ratios, "", target)


def batching_config(model: str) -> str:
    """config.pbtxt of an identity that takes a while and as many rows as there are clients."""
    config = payload.identity_config(model, SMALL).replace(
        "max_batch_size: 0", f"max_batch_size: {ROWS_MAX}"
    )
    delay = f'parameters {{ key: "delay_us" value {{ string_value: "{RUN_US}" }} }}\n'
    return config + delay + "dynamic_batching { }\n"


def sum_of(server: Server, name: str) -> float:
    """Of a counter's lines in /metrics."""
    text = exchange.get(server.port, "/metrics").body.decode()
    lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def together(session: Session, server: Server, model: str) -> list[int]:
    """What each of CLIENTS processes was answered in the same seconds."""
    command = [
        str(session.installation.python), "-m", "bench.serve.clients.asking", NATIVE,
        f"127.0.0.1:{server.port}", model, f"1x{SMALL}", str(session.seconds),
    ]  # fmt: skip
    running = [
        subprocess.Popen(command, cwd=session.root, stdout=subprocess.PIPE, text=True)
        for _ in range(CLIENTS)
    ]
    served = []
    for client in running:
        said, _ = client.communicate(timeout=60 + session.seconds)
        if client.returncode != 0:
            raise LoadError(f"a client over shared memory ended with {client.returncode}")
        served.append(int(json.loads(said)["requests"]))
    return served


def meeting(session: Session, row: Row) -> None:
    model = "meeting"
    repository = session.scratch / "repository_meeting"
    payload.write_model(repository, model, batching_config(model))
    rows_of_a_batch, shares = [], []
    with session.serve("native_meeting", repository) as server:
        for _ in range(session.pairs):
            rows, runs = "fastserve_rows_total", "fastserve_executions_total"
            before = sum_of(server, rows), sum_of(server, runs)
            served = together(session, server, model)
            after = sum_of(server, rows), sum_of(server, runs)
            rows_of_a_batch.append((after[0] - before[0]) / (after[1] - before[1]))
            shares.append(max(served) / min(served))
            row.runs.append({"contestant": "meeting", "served": served})
    label = f"{CLIENTS} clients, runs of {RUN_US} us,"
    row.figures.append(Figure.of(f"{label} rows of a batch", spread(rows_of_a_batch), ""))
    row.figures.append(
        Figure.of(f"{label} most served / least", spread(shares), "", FAIR_TARGET, "<=")
    )


def run(session: Session) -> Row:
    row = Row("native")
    small = costs(session, row, "fp32[16]", SMALL, (NATIVE, IN_PLACE, HTTP, TRITON))
    row.figures += [
        ratio(small, "fp32[16]", NATIVE, TRITON, TRITON_TARGET),
        ratio(small, "fp32[16]", NATIVE, HTTP, HTTP_TARGET),
    ]
    large = costs(session, row, "602 KB", LARGE, (IN_PLACE, NATIVE, HTTP))
    row.figures.append(ratio(large, "602 KB", IN_PLACE, HTTP, LARGE_TARGET))
    meeting(session, row)
    return row
