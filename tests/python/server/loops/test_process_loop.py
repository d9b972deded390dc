"""Several processes behind one port: one server to its clients and to who operates it."""

from __future__ import annotations

import asyncio
import errno
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from fastserve.config.options import Options
from fastserve.errors import Error
from fastserve.server.loops.process_loop import ProcessLoop
from tests.proc import needs_own_proc
from tests.python.server.conftest import PAIR, Running, add_digits, add_identity, until

PROCESSES = ("--loops", "2", "--loop-kind", "process")


def pids(server: Running) -> list[int]:
    """Of every loop that was ever started, in order."""
    return [int(pid) for pid in re.findall(r"loop \d+ is process (\d+)", server.log())]


def scrape(server: Running) -> dict[str, float]:
    lines = server.get("/metrics").body.decode().splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in samples}


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def two(start, repository) -> Running:
    add_identity(repository, "plain")
    server: Running = start(repository, *PROCESSES, "--access-log", "--log-format", "json")
    return server.await_ready()


class Load:
    """Clients that each ask on a new connection, again and again."""

    def __init__(self, server: Running, clients: int) -> None:
        self.server = server
        self.answered = 0
        self.failed: list[Exception] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                reply = self.server.infer("plain", PAIR)
                assert reply.json["outputs"][0]["data"] == PAIR["data"]
                self.answered += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failed.append(error)

    @classmethod
    @contextmanager
    def on(cls, server: Running, clients: int) -> Iterator[Load]:
        load = cls(server, clients)
        for thread in load._threads:
            thread.start()
        try:
            yield load
        finally:
            load._over.set()
            for thread in load._threads:
                thread.join()


# Whichever loop is asked, the answer is the server's.
def test_it_is_one_server_to_its_clients(two):
    replies = [two.infer("plain", PAIR) for _ in range(40)]
    assert all(reply.json["outputs"][0]["data"] == PAIR["data"] for reply in replies)
    assert {two.get("/v2/models/plain").json["versions"][0] for _ in range(10)} == {"1"}
    assert all(two.get("/v2/models/none").status == 404 for _ in range(10))
    shown = scrape(two)
    assert shown['fastserve_requests_total{model="plain",version="1"}'] == 40
    assert shown['fastserve_loops{state="serving"}'] == 2
    assert shown['fastserve_model_ready{model="plain",version="1"}'] == 1
    assert shown["fastserve_loop_restarts_total"] == 0
    assert two.end() == 0
    until(lambda: all(is_gone(pid) for pid in pids(two)), "the loops to end")
    # Whole lines, all of them, although three processes write them.
    records = [json.loads(line) for line in two.log().splitlines()]
    inferences = [r for r in records if r.get("path") == "/v2/models/plain/infer"]
    assert len(inferences) == 40


def test_a_loop_that_is_killed_comes_back_and_the_others_serve(two):
    with Load.on(two, clients=4) as load:
        until(lambda: load.answered > 50, "some answers")
        before = scrape(two)
        os.kill(pids(two)[0], signal.SIGKILL)
        seen = [before, *(scrape(two) for _ in range(5))]
        until(lambda: len(pids(two)) == 3, "the new loop")
        two.await_log("it is started again now")
        count = load.answered
        until(lambda: load.answered > count + 100, "more answers")
        until(lambda: scrape(two)['fastserve_loops{state="serving"}'] == 2, "the loop")
        seen.append(scrape(two))
    # Each client may have had one request with the loop that was killed.
    assert len(load.failed) <= 4, load.failed
    assert "loop 0 ended with signal SIGKILL" in two.log()
    for earlier, later in itertools.pairwise(seen):
        for name, value in earlier.items():
            if name.split("{")[0].endswith(("_total", "_bucket", "_count", "_sum")):
                assert later.get(name, -1) >= value, name
    assert seen[-1]["fastserve_loop_restarts_total"] == 1
    assert two.end() == 0


def test_a_loop_that_is_told_to_end_is_replaced_before_it_has_gone(two):
    with Load.on(two, clients=3) as load:
        until(lambda: load.answered > 20, "some answers")
        os.kill(pids(two)[1], signal.SIGTERM)
        two.await_log("loop 1 drains because it was told to")
        until(lambda: len(pids(two)) == 3, "the new loop")
        until(lambda: is_gone(pids(two)[1]), "the old loop to end")
        until(lambda: scrape(two)['fastserve_loops{state="serving"}'] == 2, "the new loop")
    assert not load.failed
    assert two.end() == 0


def test_what_is_in_flight_finishes_at_the_end(start, repository):
    # Long enough for a scrape of a busy machine to see it.
    add_identity(repository, "slow", delay_us=4_000_000)
    server: Running = start(repository, *PROCESSES, new_group=True).await_ready()
    replies = []
    asker = threading.Thread(target=lambda: replies.append(server.infer("slow", PAIR)))
    asker.start()
    until(lambda: scrape(server)["fastserve_in_flight_bytes"] > 0, "the request to arrive")
    # As a terminal's Ctrl-C does: the loops hear it, too.
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.process.wait(30) == 0
    asker.join()
    assert replies[0].status == 200
    assert "nothing was cut off" in server.log()
    assert "Traceback" not in server.log()


def test_the_loops_die_with_their_parent(two):
    two.process.kill()
    two.process.wait()
    until(lambda: all(is_gone(pid) for pid in pids(two)), "the loops to end")
    with socket.create_server(("127.0.0.1", two.port)):
        pass  # The port is free again.


# An engine cannot be interrupted while it loads; the server must be able to end all the same.
def test_a_signal_while_models_load_ends_the_server(start, repository):
    add_identity(repository, "endless", delay_us=30_000_000)
    server: Running = start(repository, *PROCESSES)
    assert server.end() == 0
    assert "is killed" not in server.log()
    until(lambda: all(is_gone(pid) for pid in pids(server)), "the loops to end")


def test_a_second_signal_ends_the_loops_as_well(start, repository):
    add_identity(repository, "slow", delay_us=20_000_000)
    # It is never warm: a signal must end a server that loads, whatever it loads.
    server: Running = start(repository, *PROCESSES)
    server.process.send_signal(signal.SIGTERM)
    server.await_log("draining")
    with suppress(ProcessLookupError):
        server.process.send_signal(signal.SIGTERM)
    server.process.wait(30)
    until(lambda: all(is_gone(pid) for pid in pids(server)), "the loops to end")


def test_a_model_that_fails_in_the_loops_is_told_with_its_reason(start, repository):
    add_identity(repository, "plain")
    add_digits(repository)
    (repository / "broken" / "1").mkdir(parents=True)
    (repository / "broken" / "1" / "model.onnx").write_bytes(b"this is no model")
    server: Running = start(repository, *PROCESSES).await_ready()
    reply = server.get("/v2/models/broken/ready")
    assert reply.status == 503
    assert "model.onnx" in reply.json["error"]
    assert server.infer("plain", PAIR).status == 200
    # The parent has opened no model, and knows what the loops found in it.
    assert server.get("/v2/models/digits").json["inputs"][0]["name"] == "image"
    assert server.end() == 0


# A loop that does not answer is shown with what it said last, and holds no scrape up.
@needs_own_proc
def test_a_loop_that_hangs_holds_no_scrape_up(two):
    connections = [
        http.client.HTTPConnection("127.0.0.1", two.port, timeout=1.5) for _ in range(12)
    ]
    for connection in connections:
        connection.request("GET", "/metrics")
        connection.getresponse().read()
    os.kill(pids(two)[0], signal.SIGSTOP)
    try:
        bodies = []
        for connection in connections:
            with suppress(TimeoutError):
                connection.request("GET", "/metrics")
                bodies.append(connection.getresponse().read())
                break
        assert bodies, "no connection is with the loop that runs"
        assert b'fastserve_loops{state="serving"} 2.0' in bodies[0]
    finally:
        os.kill(pids(two)[0], signal.SIGCONT)
        for connection in connections:
            connection.close()


def test_a_port_of_another_program_is_an_error(fastserve, repository):
    add_identity(repository, "plain")
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        done = fastserve("run", repository, *PROCESSES, "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: 127.0.0.1:{port} is in use")


def test_a_unix_socket_is_served_by_all_loops(start, repository, tmp_path):
    add_identity(repository, "plain")
    path = tmp_path / "s"
    server: Running = start(repository, *PROCESSES, "--unix-socket", path).await_ready()
    for _ in range(8):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(path))
            client.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert server.end() == 0
    assert not path.exists()


def test_a_process_that_cannot_be_made_is_an_error(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)

    async def act() -> None:
        member = ProcessLoop(0, Options(), [], lambda _: None)
        with pytest.raises(Error, match="no process: Resource temporarily unavailable"):
            await member.start()
        member.kill()
        assert member.ended.result().cause == "no start"

    asyncio.run(act())
