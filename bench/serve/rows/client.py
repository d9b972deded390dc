"""Python clients of one server: what a call costs the process that makes it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence

from bench.serve.load import LoadError
from bench.serve.pairing import paired_ratios, rotated, spread
from bench.serve.report import Figure, Row
from bench.serve.rows.session import Sample, Session

SMALL, LARGE = 16, 150_528
TRITON_TARGET = 3.0
LIGHT = "light"
OURS = ("http", "grpc")
KINDS = ("http", "grpc", "tritonclient.http", "tritonclient.grpc", LIGHT)


def asked(session: Session, kind: str, address: str, model: str, elements: int) -> Sample:
    module = "bench.serve.clients.asking"
    done = subprocess.run(
        [str(session.installation.python), "-m", module, kind, address, model, str(elements),
         str(session.seconds)],
        cwd=session.root, capture_output=True, text=True, timeout=60 + session.seconds,
    )  # fmt: skip
    if done.returncode != 0:
        raise LoadError(f"{kind}: {done.stderr.strip()[-500:]}")
    seen = json.loads(done.stdout)
    return Sample(kind, 1, seen["requests"], seen["wall_s"], seen["cpu_s"])


def figures_of(
    label: str, samples: Mapping[str, Sequence[Sample]], target: float | None
) -> list[Figure]:
    rates = {kind: [run.per_cpu_s for run in runs] for kind, runs in samples.items()}
    figures = [
        Figure.of(f"{label} per client-CPU-s, {kind}", spread(values), "/s")
        for kind, values in rates.items()
    ]
    for ours in OURS:
        figures += [
            Figure.of(
                f"{label} fastserve.client {ours} / {other}",
                spread(paired_ratios(rates[ours], rates[other])), "",
                target if other != LIGHT else None,
            )
            for other in (f"tritonclient.{ours}", LIGHT)
        ]  # fmt: skip
    return figures


def run(session: Session) -> Row:
    row = Row("client")
    for label, elements, target in (("fp32[16]", SMALL, TRITON_TARGET), ("602 KB", LARGE, None)):
        repository, model = session.identity_repository(elements)
        with session.serve(f"asked_{elements}", repository) as server:
            address = f"127.0.0.1:{server.port}"
            samples: dict[str, list[Sample]] = {kind: [] for kind in KINDS}
            for number in range(session.pairs):
                for kind in rotated(list(KINDS), number):
                    samples[kind].append(asked(session, kind, address, model, elements))
        row.runs += [run.plain() for runs in samples.values() for run in runs]
        row.figures += figures_of(label, samples, target)
    return row
