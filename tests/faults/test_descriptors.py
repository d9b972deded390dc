"""Descriptors run out: who is connected is served, nobody spins, and it passes."""

import contextlib
import errno
import os
import resource
import socket
import time

import pytest

from tests.attacks.raw_http import LIVE, ConnectionEnded, Wire
from tests.faults.conftest import cpu_s, is_right, numbered
from tests.served import HOST, Server

# Of one core; a loop that spins takes all of it.
CPU_SHARE_MAX = 0.3
STARVED_S = 1.5
SAID_WITHIN_S = 5.0
SERVED_AGAIN_WITHIN_S = 5.0
WAITING = 20

NO_UVLOOP = "raise ImportError('hidden by a test')\n"


@pytest.fixture(params=["uvloop", "asyncio"])
def loop_environment(request, tmp_path) -> dict[str, str]:
    """Servers run on either loop; the stock one is chosen where uvloop is not installed."""
    if request.param == "uvloop":
        return {}
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "uvloop.py").write_text(NO_UVLOOP)
    return {"PYTHONPATH": str(tmp_path / "hidden")}


def check_serves(wire: Wire, number: int) -> None:
    wire.send(numbered(number))
    assert is_right(wire.read(), number)


def is_served_now(server: Server) -> bool:
    """One try of a new client."""
    try:
        with Wire(server.port) as wire:
            wire.send(LIVE)
            return wire.has_input(within_s=0.5) and wire.read("GET").status == 200
    except (OSError, ConnectionEnded):
        return False


def await_served(server: Server) -> None:
    server.wait_for(
        lambda: is_served_now(server),
        lambda: f"no new connection is served:\n{server.log_tail()}",
        SERVED_AGAIN_WITHIN_S,
    )


@contextlib.contextmanager
def starved(server: Server):
    """No further descriptor for the server, meanwhile."""
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)


def test_without_descriptors_the_connected_are_served_and_nobody_spins(models, loop_environment):
    with Server(models, environment=loop_environment) as server, contextlib.ExitStack() as open_now:
        connected = [open_now.enter_context(Wire(server.port)) for _ in range(4)]
        for number, wire in enumerate(connected):
            check_serves(wire, number)
        with starved(server):
            waiting = [
                open_now.enter_context(socket.create_connection((HOST, server.port)))
                for _ in range(WAITING)
            ]
            server.wait_for(
                lambda: "ulimit -n" in server.log_text() or "out of system" in server.log_text(),
                lambda: f"nothing is said about it:\n{server.log_tail()}",
                SAID_WITHIN_S,
            )
            cpu_before_s, began_s = cpu_s(server), time.monotonic()
            while time.monotonic() - began_s < STARVED_S:
                for number, wire in enumerate(connected):
                    check_serves(wire, number)
                time.sleep(0.1)
            share = (cpu_s(server) - cpu_before_s) / (time.monotonic() - began_s)
            assert share < CPU_SHARE_MAX, f"it used {share:.0%} of a core"
            for sock in waiting:
                sock.close()
        await_served(server)
        for number, wire in enumerate(connected):
            check_serves(wire, number)


# What accept(2) may say that is no fault of the listening socket.
PASSING = (
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ECONNABORTED, errno.EPROTO,
    errno.EPERM, errno.ENETDOWN,
)  # fmt: skip


def test_no_failure_of_accept_ends_the_listening(models, calls, loop_environment):
    with Server(models, environment={**calls.environment, **loop_environment}) as server:
        for error in PASSING:
            calls["accept4"].fail(times=3, error=error)
            await_served(server)
            assert calls["accept4"].failed == 3, os.strerror(error)


def test_a_limit_that_is_too_low_is_told_and_kept_at_the_start(models):
    """Clients beyond it are told so, instead of waiting for ever."""
    with Server(models, prefix=("prlimit", "--nofile=90:90")) as server:
        assert "at most 45 connections instead of 10000" in server.log_text()
        wires = [Wire(server.port) for _ in range(60)]
        statuses = []
        try:
            for wire in wires:
                wire.send(LIVE)
            statuses = [wire.read("GET").status for wire in wires]
        finally:
            for wire in wires:
                wire.close()
        await_served(server)  # Who was refused lingers for two seconds.
        assert set(statuses) == {200, 503}
        assert statuses.count(200) == 45


def test_a_soft_limit_is_raised_as_far_as_needed(models):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    prefix = ("prlimit", f"--nofile=100:{hard}")
    limits = ("--max-connections", "200", "--max-shm-clients", "5")
    with Server(models, *limits, prefix=prefix) as server:
        assert "instead of" not in server.log_text()
        assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE) == (264 + 4 * 5, hard)
        wires = [Wire(server.port) for _ in range(150)]
        for number, wire in enumerate(wires):
            check_serves(wire, number)
            wire.close()
