"""A small model while a large one is loaded beside it."""

from __future__ import annotations

import threading

from bench.serve.report import Figure, Row
from bench.serve.rows.control import control, windows
from bench.serve.rows.control.answers import failed
from bench.serve.rows.session import Session

LARGE_BYTES = 300 << 20
WINDOW_S = 10.0
P50_TARGET, P99_TARGET = 1.1, 1.5


def quiet(_: threading.Event) -> None:
    """Nothing else goes on."""


def run(session: Session) -> Row:
    row = Row("neighbour")
    repository = control.Repository.fresh(session, "neighbour")
    repository.put("m", 1, control.made_small(session, 1) / "1.onnx")
    repository.put("large", 1, control.made_large(session, LARGE_BYTES))
    loads: list[int] = []

    def loading(end: threading.Event) -> None:
        with control.Peer(server.port) as peer:
            while not end.is_set():
                peer.load("large")
                loads.append(1)
                peer.unload("large")

    flags = ("--model-control", "explicit", "--load-model", "m")
    with session.serve("neighbour", repository.path, *flags) as server:
        seen = windows.alternate(
            session, server, control.request("m"), loading, quiet,
            windows=session.pairs, seconds=WINDOW_S,
        )  # fmt: skip
    answers = [answer for window in (*seen.with_it, *seen.without) for answer in window]
    row.figures = [
        Figure("loads of 300 MiB", len(loads), ""),
        Figure("failed", failed(answers), "", 0, "<="),
        *seen.ratios("while it loads / without", P50_TARGET, P99_TARGET),
    ]
    return row
