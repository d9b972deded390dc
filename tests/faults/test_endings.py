"""The server is killed or asked to end under load: nothing is left, nothing is wrong."""

import os
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.attacks.raw_http import ConnectionEnded, Wire
from tests.faults.conftest import MODELS, is_right, numbered
from tests.served import HOST, Server

CLIENTS = 8
LOADED_WITHIN_S = 10.0
ENDED_WITHIN_S = 20.0
RIGHT_BEFORE = 200  # Answers that the load has had when the end comes.


class Load:
    """Clients that ask in closed loops, each on one connection, until the server is gone."""

    def __init__(self, port: int) -> None:
        self.right = 0
        self.refused = 0
        self.wrong: list[str] = []
        self._port = port
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        deadline_s = time.monotonic() + LOADED_WITHIN_S
        while self.right < RIGHT_BEFORE and not self.wrong:
            assert time.monotonic() < deadline_s, f"{self.right} answers in all that time"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        """The server must be gone by now, or its clients never end."""
        for thread in self._threads:
            thread.join(ENDED_WITHIN_S)
            assert not thread.is_alive(), "a client still waits for an answer"

    def _ask(self, client: int) -> None:
        number = client * 1_000_000
        while not self.wrong:
            try:
                with Wire(self._port) as wire:
                    while not self.wrong:
                        number += 1
                        wire.send(numbered(number, MODELS[number % len(MODELS)]))
                        answer = wire.read()
                        self._count(number, is_right(answer, number), answer.status)
                        if answer.headers.get("connection") == "close":
                            break
            except ConnectionEnded:
                continue
            except (ConnectionRefusedError, ConnectionResetError):
                return
            except AssertionError as error:
                self.wrong.append(str(error))

    def _count(self, number: int, is_right: bool, status: int) -> None:
        with self._lock:
            self.right += is_right
            self.refused += not is_right
        if not is_right and status != 503:
            self.wrong.append(f"request {number} was answered with {status}")


def ours_in_shared_memory() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if "fastserve" in name}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def ask_over_unix(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return sock.recv(1 << 16)


@pytest.mark.parametrize("turn", range(3))
def test_nothing_is_left_of_a_killed_server_and_the_next_one_serves_at_once(models, tmp_path, turn):
    port, path = free_port(), tmp_path / "socket"
    flags = ("--port", str(port), "--unix-socket", str(path))
    before = ours_in_shared_memory()
    # In a process group of its own, so that children of it would be seen.
    first = Server(models, *flags, prefix=("setsid",))
    with first, Load(port) as load:
        first.kill()
    assert not load.wrong, load.wrong
    with pytest.raises(ProcessLookupError):
        os.killpg(first.pid, 0)
    assert ours_in_shared_memory() == before
    assert path.is_socket(), "SIGKILL leaves no time to remove it: that is what is tried here"
    with Server(models, *flags) as second:
        assert ask_over_unix(path).startswith(b"HTTP/1.1 200 ")
        with Wire(second.port) as wire:
            wire.send(numbered(9))
            assert is_right(wire.read(), 9)
    assert not path.exists()


@pytest.mark.parametrize("turn", range(3))
def test_what_was_accepted_before_sigterm_is_answered(models, turn):
    with Server(models, "--access-log") as server:
        with Load(server.port) as load:
            server.end()
        log = server.log_text()
    assert not load.wrong, load.wrong
    assert "nothing was cut off" in log, server.log_tail()
    # Whatever the server says that it answered, a client has got.
    statuses = re.findall(r" POST /v2/models/\S+/infer (\d{3}) ", log)
    assert statuses.count("200") == load.right
    assert len(statuses) == load.right + load.refused
