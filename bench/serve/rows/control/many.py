"""Five hundred small models: how long until all are served, what the index costs, and what it costs
to look for new ones."""

from __future__ import annotations

import time

from bench.serve import procfs
from bench.serve.report import Figure, Row
from bench.serve.rows.control import control
from bench.serve.rows.control.answers import percentile
from bench.serve.rows.session import Session

MODELS = 500
INDEX_CALLS = 200
INDEX_MS_TARGET = 5.0
IDLE_SHARE_TARGET = 0.01
POLL_INTERVAL = "5s"


def run(session: Session) -> Row:
    row = Row("many")
    repository = control.Repository.fresh(session, "many")
    file = control.made_small(session, 1) / "1.onnx"
    for number in range(MODELS):
        repository.put(f"m{number:03}", 1, file)
    flags = ("--model-control", "poll", "--poll-interval", POLL_INTERVAL)
    began_s = time.monotonic()
    with session.serve("many", repository.path, *flags) as server:
        ready_s = time.monotonic() - began_s
        with control.Peer(server.port) as peer:
            ready = sum(entry.get("state") == "READY" for entry in peer.index())
            took_ms = []
            for _ in range(INDEX_CALLS):
                before_s = time.perf_counter()
                peer.index()
                took_ms.append((time.perf_counter() - before_s) * 1e3)
        time.sleep(5)  # Until it has given back what the clients needed.
        idle_s = 30 * session.seconds
        ticks = server.cpu_ticks()
        time.sleep(idle_s)
        share = (server.cpu_ticks() - ticks) / procfs.TICKS_PER_S / idle_s
    row.figures = [
        Figure("ready", ready, "models", MODELS),
        Figure("from exec until all are ready", ready_s, "s"),
        Figure("index, median", percentile(took_ms, 50), "ms", INDEX_MS_TARGET, "<="),
        Figure("index, p99", percentile(took_ms, 99), "ms"),
        Figure(f"idle share of a core, looking every {POLL_INTERVAL}", share, "",
               IDLE_SHARE_TARGET, "<="),
    ]  # fmt: skip
    return row
