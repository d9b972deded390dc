"""MLP 64-256-256-10 through ONNX Runtime with batching: what serving adds to the engine's cost."""

from __future__ import annotations

import array
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from bench.serve import exchange, payload
from bench.serve.exchange import Response
from bench.serve.pairing import paired_differences, rotated, spread
from bench.serve.processes import Server
from bench.serve.report import Figure, Row
from bench.serve.rows.session import (
    LOAD_SHARE,
    REFERENCES,
    Contestant,
    Session,
    require,
)

CONNECTIONS = 64
COLUMNS, CLASSES = 64, 10
BARE_BATCH_ROWS = 32
BATCH_TARGET = 8.0
OVERHEAD_US_TARGET = 12.0
TOLERANCE = 1e-5
ROWS_METRIC = "fastserve_rows_total"
RUNS_METRIC = "fastserve_executions_total"
OURS, BARE = "fastserve", "bare_engine"


def metric_sum(text: str, name: str, model: str) -> float:
    """Sum of a Prometheus counter over the series of one model; KeyError when it is absent."""
    found = [
        float(value)
        for labels, value in re.findall(
            rf"^{re.escape(name)}\{{([^}}]*)\}}\s+(\S+)", text, re.MULTILINE
        )
        if f'model="{model}"' in labels
    ]
    if not found:
        raise KeyError(f"/metrics has no {name} for model {model}")
    return sum(found)


def counts(port: int) -> tuple[float, float]:
    """(rows, runs of the engine) so far."""
    text = exchange.get(port, "/metrics").body.decode()
    return metric_sum(text, ROWS_METRIC, "mlp"), metric_sum(text, RUNS_METRIC, "mlp")


def repository_of(session: Session) -> tuple[Path, Path]:
    """The repository with the MLP in it, and the model's file."""
    python = str(session.installation.python)
    made = session.scratch / "mlp.onnx"
    subprocess.run([python, str(REFERENCES / "make_mlp.py"), str(made)], check=True)
    repository = session.scratch / "repository_mlp"
    payload.write_model(repository, "mlp", payload.mlp_config(), made.read_bytes())
    return repository, made


def engine_answers(session: Session, model: Path, rows: bytes) -> list[list[float]]:
    """What the bare engine says to each row."""
    rows_file = session.scratch / "rows.bin"
    rows_file.write_bytes(rows)
    script = str(REFERENCES / "bare_engine.py")
    command = [str(session.installation.python), script, "answers", str(model), str(rows_file)]
    done = subprocess.run(command, capture_output=True, check=True)
    values = array.array("f", done.stdout).tolist()
    return [values[at : at + CLASSES] for at in range(0, len(values), CLASSES)]


def row_request(rows: bytes, index: int) -> payload.Request:
    row = rows[index * COLUMNS * 4 : (index + 1) * COLUMNS * 4]
    return payload.binary_request("mlp", "input", [1, COLUMNS], row)


def error_of(response: Response, expected: list[float]) -> float:
    """Largest absolute difference between an answer and the engine's."""
    require(response.status == 200, f"status {response.status}: {response.body[:300]!r}")
    head_bytes = int(response.headers.get("inference-header-content-length", "0"))
    _, tail = payload.binary_answer(response.body, head_bytes)
    values = array.array("f", tail).tolist()
    require(len(values) == len(expected), f"{len(values)} values, expected {len(expected)}")
    return max(abs(a - b) for a, b in zip(values, expected, strict=True))


def bare_us_per_row(session: Session, model: Path) -> float:
    script = str(REFERENCES / "bare_engine.py")
    command = [str(session.installation.python), script, "cost", str(model)]
    command += [str(BARE_BATCH_ROWS), str(session.seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    return float(seen["cpu_s"]) / float(seen["rows"]) * 1e6


def answers_figure(server: Server, rows: bytes, expected: list[list[float]]) -> Figure:
    """All rows at once, so that they are answered out of batches, against the bare engine."""
    requests = [row_request(rows, index).encoded() for index in range(len(expected))]
    worst = 0.0
    for _ in range(5):
        responses = exchange.at_once(server.port, requests)
        errors = [error_of(seen, want) for seen, want in zip(responses, expected, strict=True)]
        worst = max(worst, *errors)
    return Figure("largest difference to the bare engine", worst, "", TOLERANCE, "<=")


def measured_rounds(
    session: Session, contestant: Contestant, request: payload.Request, model: Path
) -> tuple[list[dict[str, Any]], list[float], list[float], list[float], list[float]]:
    """(runs, server us per request, bare us per row, mean batches, requests per second)."""
    runs: list[dict[str, Any]] = []
    ours: list[float] = []
    bare: list[float] = []
    batches: list[float] = []
    rates: list[float] = []
    for round_index in range(session.pairs):
        for name in rotated([OURS, BARE], round_index):
            if name == BARE:
                bare.append(bare_us_per_row(session, model))
                runs.append({"contestant": BARE, "cpu_us_per_row": bare[-1]})
                continue
            rows_before, runs_before = counts(contestant.server.port)
            sample = session.closed_run(contestant, request, CONNECTIONS)
            rows_after, runs_after = counts(contestant.server.port)
            batches.append((rows_after - rows_before) / max(1.0, runs_after - runs_before))
            ours.append(sample.cpu_us)
            rates.append(sample.per_s)
            runs.append(sample.plain() | {"mean_batch_rows": batches[-1]})
    return runs, ours, bare, batches, rates


def run(session: Session) -> Row:
    row = Row("mlp")
    repository, model = repository_of(session)
    rows = payload.floats(CONNECTIONS * COLUMNS, seed=4)
    expected = engine_answers(session, model, rows)
    request = row_request(rows, 0)
    with session.serve(OURS, repository) as server:
        row.figures.append(answers_figure(server, rows, expected))

        def check(response: Response) -> None:
            error = error_of(response, expected[0])
            require(error <= TOLERANCE, f"the answer is off by {error}")

        contestant = Contestant(server, check)
        row.runs, ours, bare, batches, rates = measured_rounds(session, contestant, request, model)
        row.figures += [
            Figure.of(f"c={CONNECTIONS} mean batch", spread(batches), "rows", BATCH_TARGET),
            Figure.of(f"c={CONNECTIONS} CPU per request, {OURS}", spread(ours), "us"),
            Figure.of(f"CPU per row at batch {BARE_BATCH_ROWS}, {BARE}", spread(bare), "us"),
            Figure.of(
                f"c={CONNECTIONS} CPU per request above the bare engine",
                spread(paired_differences(ours, bare)),
                "us",
                OVERHEAD_US_TARGET,
                "<=",
            ),
        ]
        rate = spread(rates).median * LOAD_SHARE
        figures, runs, notes = session.latency([contestant], request, CONNECTIONS, {OURS: rate})
        row.figures += figures
        row.runs += runs
        row.notes += notes
    return row
