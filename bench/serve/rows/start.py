"""Start, and what the server costs while nobody asks: the small model examples/digits."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time

from bench.serve import payload, procfs
from bench.serve.exchange import HOST
from bench.serve.pairing import rotated, spread
from bench.serve.processes import Server, ServerError, free_port
from bench.serve.report import Figure, Row
from bench.serve.rows.session import Session

STARTS = 20
START_MS_TARGET = 120.0
MEMORY_MB_TARGET = 60.0
WHEEL_MB_TARGET = 5.0
SETTLE_S = 3
IDLE_S = 10
LIMIT_S = 60.0
READY = f"GET /v2/health/ready HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def answers_ready(port: int) -> bool:
    """One attempt without a pause: connecting fails at once until the server listens."""
    try:
        with socket.create_connection((HOST, port), 5) as connection:
            connection.sendall(READY)
            return connection.recv(4096).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def start_ms(server: Server) -> float:
    """From exec to the first 200 of /v2/health/ready, polled in a tight loop."""
    began = time.perf_counter()
    process = subprocess.Popen(
        server.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        while not answers_ready(server.port):
            if process.poll() is not None or time.perf_counter() - began > LIMIT_S:
                raise ServerError(f"{server.name} did not become ready")
        return (time.perf_counter() - began) * 1e3
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=10)
        if process.poll() is None:
            process.kill()
            process.wait()


def import_ms(session: Session) -> float:
    """What the interpreter and the event loop take without any server."""
    began = time.perf_counter()
    command = [str(session.installation.python), "-c", "import asyncio, uvloop"]
    subprocess.run(command, check=True)
    return (time.perf_counter() - began) * 1e3


def starts_figures(session: Session, server: Server) -> list[Figure]:
    """Both are run alternately; the first of each only warms the page cache."""
    starts: list[float] = []
    imports: list[float] = []
    for round_index in range(STARTS + 1):
        for name in rotated(["start", "import"], round_index):
            if name == "start":
                server.move_to(free_port())
                starts.append(start_ms(server))
            else:
                imports.append(import_ms(session))
    started, imported = spread(starts[1:]), spread(imports[1:])
    above = started.median - imported.median
    return [
        Figure.of(f"exec to ready, median of {STARTS}", started, "ms"),
        Figure.of("import asyncio, uvloop", imported, "ms"),
        Figure("exec to ready above the imports", above, "ms", START_MS_TARGET, "<="),
    ]


def idle_figures(server: Server) -> list[Figure]:
    with server:
        memory_mb = procfs.tree_pss_bytes(server.pid) / 1e6
        # A connection was just closed; the sweep that follows it within a second has to be over.
        time.sleep(SETTLE_S)
        before = server.cpu_ticks()
        time.sleep(IDLE_S)
        ticks = server.cpu_ticks() - before
        tree = procfs.tree_of(server.pid, procfs.all_processes())
    return [
        Figure("idle memory (PSS)", memory_mb, "MB", MEMORY_MB_TARGET, "<="),
        Figure(f"idle CPU over {IDLE_S} s", ticks, "ticks", 0, "<="),
        Figure("processes", len(tree), ""),
        Figure("threads", sum(process.threads for process in tree), ""),
    ]


def run(session: Session) -> Row:
    row = Row("start")
    model = session.root / "examples" / "digits" / "digits.onnx"
    repository = session.scratch / "repository_digits"
    payload.write_model(repository, "digits", None, model.read_bytes())
    server = session.serve("fastserve", repository)
    row.figures += starts_figures(session, server)
    row.figures += idle_figures(server)
    if session.installation.wheel is not None:
        wheel_mb = session.installation.wheel.stat().st_size / 1e6
        row.figures.append(Figure("wheel", wheel_mb, "MB", WHEEL_MB_TARGET, "<="))
    return row
