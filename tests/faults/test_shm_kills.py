"""Clients over shared memory, and their servers, are killed under load: nothing is left of them."""

import contextlib
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fastserve.client.shm import CallError, ShmClient
from tests import cores, proc
from tests.served import Repository, Server

CLIENT_KILLS = 1000
SERVER_KILLS = 100
# A server takes many times as long to start with a sanitizer in it.
SERVER_KILLS_SANITIZED = 10
GONE_WITHIN_S = 20.0
RIGHT_BETWEEN_KILLS = 20
CLIENTS = 2


class Asking:
    """One client in a closed loop, whose answers are looked at, through all that happens."""

    def __init__(self, address: str | int, model: str) -> None:
        self.right = 0
        self.failed: dict[str, int] = {}
        self.wrong: list[str] = []
        self.client = ShmClient(address, connect_timeout=0.2, timeout=10.0, segment_bytes=4 << 20)
        self._model = model
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "a client still waits for an answer"
        self.client.close()

    def _ask(self) -> None:
        number = 0
        while not self._is_over.is_set() and not self.wrong:
            number += 1
            data = np.array([[number, -number, number + 1]], np.float32)
            try:
                answer = self.client.infer(self._model, {"x": data})["y"]
            except CallError as error:
                self.failed[error.code] = self.failed.get(error.code, 0) + 1
                continue
            except BaseException as error:
                self.wrong.append(f"{type(error).__name__}: {error}")
                raise
            if np.array_equal(answer, data):
                self.right += 1
            else:
                self.wrong.append(f"{answer} for {data}")

    def await_right(self, count: int) -> None:
        deadline_s = time.monotonic() + GONE_WITHIN_S
        while self.right < count and not self.wrong:
            assert time.monotonic() < deadline_s, (
                f"{self.right} right answers of {count} in all that time; failed: {self.failed}"
            )
            time.sleep(0.002)
        assert not self.wrong, self.wrong


def segments_of(pid: int | str) -> int:
    """Mappings of memory that a client and a server share."""
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:fastserve")


def descriptors_of(pid: int | str) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def named_sockets(name: str) -> int:
    return Path("/proc/net/unix").read_text().count(f" {name}\n")


def held_by(server: Server) -> dict[str, int]:
    """What clients over shared memory have of it."""
    metrics = server.metrics()
    gauges = {
        name: int(metrics.sum(f"fastserve_shm_{name}"))
        for name in ("clients", "in_flight_requests", "segment_bytes")
    }
    if not proc.IS_OURS:
        return gauges
    return {
        **gauges,
        "segments": segments_of(server.pid),
        "descriptors": descriptors_of(server.pid),
        "threads": len(os.listdir(f"/proc/{server.pid}/task")),
    }


def is_within(held: dict[str, int], before: dict[str, int]) -> bool:
    return all(held[name] <= before[name] for name in before)


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    repository = Repository(tmp_path / "models")
    repository.add_identity("echo", dims="-1, -1")
    return repository.path


@pytest.fixture(autouse=True)
def few_words(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.ERROR, "fastserve.client.shm"):
        yield


def test_a_thousand_killed_clients_leave_nothing(models: Path, capsys) -> None:
    shared_before = sorted(os.listdir("/dev/shm"))
    # Room for those who are dead and not yet gone, on a machine that is slow to say so.
    with Server(models, "--max-shm-clients", "256") as server:
        with Asking(server.port, "echo") as warm:
            warm.await_right(RIGHT_BETWEEN_KILLS)
        server.wait_for(
            lambda: held_by(server)["clients"] == 0, lambda: str(held_by(server)), GONE_WITHIN_S
        )
        before = held_by(server)
        with Asking(server.port, "echo") as good:
            done = subprocess.run(
                [sys.executable, "-m", "tests.faults.shm_victims",
                 f"@fastserve-{server.port}", str(CLIENT_KILLS), "1"],
                capture_output=True, text=True, timeout=600, check=False,
            )  # fmt: skip
            good.await_right(good.right + RIGHT_BETWEEN_KILLS)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        assert seen == {"killed": CLIENT_KILLS, "ended_by_themselves": 0}, done.stderr
        assert good.failed == {}
        # Threads of the server's own may have begun meanwhile, to answer scrapes.
        if "threads" in before:
            before["threads"] += 8
        server.wait_for(
            lambda: is_within(held_by(server), before),
            lambda: f"left: {held_by(server)}, before: {before}",
            GONE_WITHIN_S,
        )
        opened = int(server.metrics().sum("fastserve_shm_clients_opened_total"))
        left = held_by(server)
    assert sorted(os.listdir("/dev/shm")) == shared_before
    with capsys.disabled():
        print(
            f"\n{CLIENT_KILLS} clients killed, {opened} of them connected; {good.right} right"
            f" answers beside them; left of them: {left['clients']} clients,"
            f" {left['in_flight_requests']} requests, {left['segment_bytes']} bytes"
        )


def test_a_hundred_killed_servers_leave_nothing(echo: Path, capsys) -> None:
    name = f"@fastserve-kills-{os.getpid()}"
    kills = SERVER_KILLS_SANITIZED if cores.environment() else SERVER_KILLS
    gc.collect()
    segments, descriptors = segments_of("self"), descriptors_of("self")
    asking = [Asking(name, "echo") for _ in range(CLIENTS)]
    with contextlib.ExitStack() as both:
        for one in asking:
            both.enter_context(one)
        for _ in range(kills):
            with Server(echo, "--shm-socket", name) as server:
                for one in asking:
                    one.await_right(one.right + RIGHT_BETWEEN_KILLS)
                server.kill()
    for one in asking:
        assert not one.wrong, one.wrong
        assert set(one.failed) <= {"UNAVAILABLE"}, one.failed
        assert one.client.reconnects >= kills - 1
    reconnects = [one.client.reconnects for one in asking]
    del one, asking
    gc.collect()
    assert segments_of("self") == segments
    assert descriptors_of("self") <= descriptors
    assert named_sockets(name) == 0
    with capsys.disabled():
        print(
            f"\n{kills} servers killed under {CLIENTS} clients, which connected anew {reconnects}"
            " times; left of them: nothing"
        )
