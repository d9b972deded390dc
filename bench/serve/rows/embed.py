"""A model in the program's own process: what a call costs above the engine's own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench.serve.pairing import paired_differences, paired_ratios, rotated, spread
from bench.serve.report import Figure, Row
from bench.serve.rows import mlp
from bench.serve.rows.session import REFERENCES, Session

ABOVE_US_TARGET = 2.0
C_API_TARGET = 1.15
ENGINE_TARGET = 1.0
THREADS = 8
THREADS_TARGET = 1.7
SUBMIT_TARGET = 200_000.0
CORE_TARGET = 1_000_000.0
IDENTITY_COLUMNS = 16
BATCHES = (1, 32)

Contest = dict[str, Callable[[], float]]


def micro_programs(session: Session) -> tuple[Path, Path]:
    """The C++ references, built from this tree: (engines alone, the queue alone)."""
    targets = ("backends_engines_bench", "serving_scheduler_bench")
    subprocess.run(
        ["cmake", "--preset", "bench"], cwd=session.root, check=True, capture_output=True
    )
    command = ["cmake", "--build", "--preset", "bench", "--target", *targets]
    subprocess.run(command, cwd=session.root, check=True, capture_output=True)
    folder = session.root / "build" / "bench" / "bench" / "micro"
    return folder / targets[0], folder / targets[1]


def engine_library(session: Session) -> str:
    code = "import fastserve.control.loading.engine as e; print(e.onnxruntime_library())"
    done = subprocess.run(
        [str(session.installation.python), "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def spoken(command: list[str]) -> dict[str, float]:
    """The JSON object that a program printed, all its values numbers."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name: float(value) for name, value in json.loads(done.stdout).items()}


def embedded(session: Session, *words: str) -> dict[str, float]:
    script = str(REFERENCES / "embedded.py")
    return spoken([str(session.installation.python), script, *words])


def queue_per_s(program: Path) -> float:
    """Requests a second through the queue, 32 submitted together: of all of it, on one thread."""
    done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    found = re.search(r"32 together .*?([\d.]+) million/s", done.stdout)
    if found is None:
        raise ValueError(f"{program.name} says no rate for 32 requests together")
    return float(found.group(1)) * 1e6


def rounds(session: Session, contest: Contest) -> dict[str, list[float]]:
    """`pairs` rounds in which each runs once, in rotated order."""
    seen: dict[str, list[float]] = {name: [] for name in contest}
    for round_index in range(session.pairs):
        for name in rotated(list(contest), round_index):
            seen[name].append(contest[name]())
    return seen


def identity_figures(session: Session, engines: Path) -> list[Figure]:
    repository, model = session.identity_repository(IDENTITY_COLUMNS)
    path, seconds = str(repository / model), str(session.seconds / 2)
    seen = rounds(
        session,
        {
            "bare": lambda: spoken([str(engines)])["identity"] / 1e3,
            "infer": lambda: embedded(session, "infer", path, "INPUT0", "0", seconds)["s"] * 1e6,
            "submit": lambda: embedded(session, "submit", path, "INPUT0", "0", seconds)["per_s"],
        },
    )
    above = spread(paired_differences(seen["infer"], seen["bare"]))
    return [
        Figure.of("identity, the bare engine's call", spread(seen["bare"]), "us"),
        Figure.of("identity, Model.infer above it", above, "us", ABOVE_US_TARGET, "<="),
        Figure.of("submissions from Python", spread(seen["submit"]), "/s", SUBMIT_TARGET),
    ]


def label_of(rows: int) -> str:
    return f"MLP, {rows} row" + ("s" if rows > 1 else "")


def mlp_figures(session: Session, engines: Path, rows: int) -> list[Figure]:
    _, model = mlp.repository_of(session)
    path, seconds = str(model), str(session.seconds / 2)
    bare = [str(engines), path, engine_library(session), str(rows)]
    words = (path, "input", str(rows), seconds)
    seen = rounds(
        session,
        {
            "c_api": lambda: spoken(bare)["c_api"] / 1e3,
            "infer": lambda: embedded(session, "infer", *words)["s"] * 1e6,
            "engine": lambda: embedded(session, "engine", *words)["s"] * 1e6,
        },
    )
    above = spread(paired_ratios(seen["infer"], seen["c_api"]))
    beside = spread(paired_ratios(seen["engine"], seen["infer"]))
    label = label_of(rows)
    return [
        Figure.of(f"{label}, C API", spread(seen["c_api"]), "us"),
        Figure.of(f"{label}, Model.infer", spread(seen["infer"]), "us"),
        Figure.of(f"{label}, Model.infer / C API", above, "", C_API_TARGET, "<="),
        Figure.of(f"{label}, InferenceSession.run / Model.infer", beside, "", ENGINE_TARGET),
    ]


def thread_figures(session: Session, rows: int, target: float | None) -> list[Figure]:
    """Threads that call the same model, each of them an instance of it, against one thread."""
    _, model = mlp.repository_of(session)
    words = ("threads", str(model), "input", str(rows), str(session.seconds / 2))
    seen = rounds(
        session,
        {
            "one": lambda: embedded(session, *words, "1")["per_s"],
            "many": lambda: embedded(session, *words, str(THREADS))["per_s"],
        },
    )
    ratio = spread(paired_ratios(seen["many"], seen["one"]))
    label = label_of(rows)
    return [
        Figure.of(f"{label}, 1 thread", spread(seen["one"]), "/s"),
        Figure.of(f"{label}, {THREADS} threads", spread(seen["many"]), "/s"),
        Figure.of(f"{label}, {THREADS} threads / 1", ratio, "", target),
    ]


def run(session: Session) -> Row:
    row = Row("embed")
    engines, queue = micro_programs(session)
    row.figures += identity_figures(session, engines)
    core = rounds(session, {"queue": lambda: queue_per_s(queue)})["queue"]
    row.figures.append(
        Figure.of("submissions through the queue from C++", spread(core), "/s", CORE_TARGET)
    )
    for rows in BATCHES:
        row.figures += mlp_figures(session, engines, rows)
    # Of a run of 6 us the part under the interpreter's lock is too large to share.
    row.figures += thread_figures(session, 32, THREADS_TARGET)
    row.figures += thread_figures(session, 1, None)
    return row
