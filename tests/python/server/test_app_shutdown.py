"""How a server ends: what is in flight finishes, or is cut off when the time is up."""

from __future__ import annotations

import os
import re
import signal
import threading

import pytest

from tests.python.server.conftest import PAIR, Reply, Running, add_identity, until


class Asked:
    """A request that waits for its answer on a thread."""

    def __init__(self, server: Running, model: str) -> None:
        self.reply: Reply | None = None
        self.error: OSError | None = None
        before = received(server)
        scrapes = 0

        def ask() -> None:
            try:
                self.reply = server.infer(model, PAIR)
            except OSError as error:
                self.error = error

        self.thread = threading.Thread(target=ask)
        self.thread.start()

        def has_arrived() -> bool:
            nonlocal scrapes
            scrapes += 1
            return received(server) - before > scrapes

        until(has_arrived, "the request to arrive")


def received(server: Running) -> int:
    """The requests that the server has received, this one included."""
    text = server.get("/metrics").body.decode()
    found = re.search(r"^fastserve_http_requests_total (\S+)$", text, re.MULTILINE)
    assert found, text
    return int(float(found[1]))


@pytest.fixture
def slow(start, repository) -> Running:
    """A server whose model takes 2 s for a request."""
    add_identity(repository, "slow", delay_us=2_000_000)
    server: Running = start(repository)
    return server.await_ready()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_in_flight_finish(slow, number):
    asked = Asked(slow, "slow")
    assert slow.end(number) == 0
    asked.thread.join()
    assert asked.reply is not None, asked.error
    assert asked.reply.status == 200
    assert asked.reply.json["outputs"][0]["data"] == PAIR["data"]
    assert "nothing was cut off" in slow.log()


def test_a_second_signal_exits_at_once(slow):
    asked = Asked(slow, "slow")
    slow.process.send_signal(signal.SIGTERM)
    slow.await_log("draining")
    assert slow.end(signal.SIGTERM) == 128 + signal.SIGTERM
    asked.thread.join()
    assert asked.reply is None


def test_the_time_to_drain_is_limited_and_what_is_lost_is_said(start, repository):
    add_identity(repository, "slow", delay_us=5_000_000)
    server = start(repository, "--drain-timeout", "200ms").await_ready()
    asked = Asked(server, "slow")
    assert server.end() == 0
    asked.thread.join()
    assert asked.reply is None
    assert "cut off: 1 request, 1 connection" in server.log()


def test_new_connections_are_refused_while_it_drains(slow):
    asked = Asked(slow, "slow")
    slow.process.send_signal(signal.SIGTERM)
    slow.await_log("draining")

    def is_refused() -> bool:
        try:
            slow.get("/v2/health/live")
        except ConnectionError:
            return True
        return False

    until(is_refused, "the socket to close")
    assert slow.process.wait(30) == 0
    asked.thread.join()
    assert asked.reply is not None


def test_a_hang_up_is_told_and_survived(start, repository):
    add_identity(repository, "plain")
    server = start(repository).await_ready()
    server.process.send_signal(signal.SIGHUP)
    server.await_log("SIGHUP: there is nothing to reload")
    assert server.get("/v2/health/ready").status == 200
    assert server.end() == 0


def test_a_closed_terminal_ends_its_server(start, repository):
    add_identity(repository, "plain")
    controller, terminal = os.openpty()
    try:
        server = start(repository, stdin=terminal).await_ready()
        assert server.end(signal.SIGHUP) == 0
    finally:
        os.close(terminal)
        os.close(controller)
    assert "SIGHUP: draining" in server.log()


# A model that loads cannot be interrupted; the server must be able to end all the same.
def test_a_signal_while_models_load_ends_the_server(start, repository):
    add_identity(repository, "endless", delay_us=30_000_000)
    server = start(repository)
    assert server.end() == 0
