"""Shared memory that changes, shrinks or goes while requests use it."""

import contextlib
import itertools
import json
import os
import threading
import time

import numpy as np
import pytest

from tests.attacks.shared_memory import Memory, asked, infer, register, unregister, where
from tests.served import Answer, Repository, Server

pytestmark = pytest.mark.usefixtures("no_region_is_left")
NUMBERS = itertools.count()
FLOATS = np.arange(50_000, dtype=np.float32).reshape(1, -1)  # 200 KB.


def test_a_truncated_object_fails_its_requests_and_nobody_elses(shared):
    with Memory(FLOATS.nbytes) as memory, Memory(FLOATS.nbytes) as other:
        for name, one in (("gone", memory), ("there", other)):
            assert register(shared, name, one.key, 0, FLOATS.nbytes).status == 200
        os.ftruncate(memory.fd, 0)
        size, count = FLOATS.nbytes, FLOATS.size
        for body in (
            asked(where("gone", size), elements=count),
            asked(where("gone", size), where("there", size), count),
            asked(where("there", size), where("gone", size), count),
        ):
            assert infer(shared, body).status == 400
        body = asked(where("there", size), where("there", size), count)
        assert infer(shared, body).status == 200
        os.ftruncate(memory.fd, size)


def test_truncating_in_a_loop_harms_nobody(shared):
    """The object comes and goes while models read it, write it, and its answers are sent."""
    size, count = FLOATS.nbytes, FLOATS.size
    deadline = time.monotonic() + 5
    statuses: list[int] = []
    bad: list[Answer | Exception] = []

    def ask(kind: int) -> None:
        turn = 0
        while time.monotonic() < deadline:
            turn += 1
            place = where("loop", size, 0)
            body = (
                asked(place, elements=count),
                asked(where("loop", size), where("calm", size), count),
                asked(where("calm", size), where("loop", size), count),
            )[kind]
            try:
                answer = infer(shared, body)
            except (OSError, ValueError) as error:
                # Of kind 0 the answer itself lies in memory that was taken away while it was sent.
                if kind != 0:
                    bad.append(error)
                continue
            statuses.append(answer.status)
            if answer.status not in (200, 400, 404):
                bad.append(answer)

    def look_on() -> None:
        data = json.dumps(asked_plain).encode()
        while time.monotonic() < deadline:
            answer = infer(shared, data)
            if answer.status != 200 or answer.json["outputs"][0]["data"] != [1, 2, 3, 4]:
                bad.append(answer)

    asked_plain = {
        "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]
    }
    with Memory(size) as memory, Memory(size) as calm:
        assert register(shared, "calm", calm.key, 0, size).status == 200
        threads = [threading.Thread(target=ask, args=(kind,)) for kind in range(3)]
        threads.append(threading.Thread(target=look_on))
        for thread in threads:
            thread.start()
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                os.ftruncate(memory.fd, size)
                # A region that has lost a page once is of no more use.
                unregister(shared, "loop")
                register(shared, "loop", memory.key, 0, size)
                time.sleep(0.002)
                os.ftruncate(memory.fd, next(NUMBERS) % 3 * 4096)
        for thread in threads:
            thread.join()
    assert not bad, bad[:3]
    assert 200 in statuses


def await_a_request(server: Server) -> None:
    """Until a model has one: what asks for the metrics is a request, too."""
    server.wait_for(
        lambda: server.metrics().sum("fastserve_in_flight_requests") > 1,
        lambda: "the request did not arrive",
        5.0,
    )


@pytest.mark.parametrize("loops", [1, 2])
def test_memory_that_is_taken_away_while_its_request_runs_is_counted(tmp_path, loops):
    models = Repository(tmp_path / "models")
    models.add_identity("slow", delay_us=500_000)
    x = {"name": "x", "shape": [4], "datatype": "FP32", "parameters": where("r", 16)}
    y = {"name": "y", "parameters": where("r", 16, 4096)}
    body = json.dumps({"inputs": [x], "outputs": [y]}).encode()
    with Server(models.path, "--loops", str(loops)) as server, Memory(8192) as memory:
        assert register(server, "r", memory.key, 0, 8192).status == 200
        answers: list[Answer] = []
        thread = threading.Thread(target=lambda: answers.append(infer(server, body, "slow")))
        thread.start()
        await_a_request(server)
        os.ftruncate(memory.fd, 0)
        thread.join()
        (answer,) = answers
        assert answer.status == 400
        assert "register it again" in answer.error
        assert server.metrics().sum("fastserve_shared_memory_poisoned_total") == 1
        os.ftruncate(memory.fd, 8192)
        if loops == 1:  # Other processes have lost nothing.
            assert infer(server, body, "slow").status == 400, "it is of no more use"
        unregister(server)
        assert register(server, "r", memory.key, 0, 8192).status == 200
        assert infer(server, body, "slow").status == 200
        unregister(server)


def test_a_region_lives_as_long_as_its_requests(shared):
    with Memory(1 << 20) as memory:
        sent = np.arange(4, dtype=np.float32)
        memory.map[:16] = sent.tobytes()
        assert register(shared, "busy", memory.key, 0, 1 << 20).status == 200
        x = {"name": "x", "shape": [4], "datatype": "FP32", "parameters": where("busy", 16)}
        y = {"name": "y", "parameters": where("busy", 16, 4096)}
        answers: list[Answer] = []
        body = json.dumps({"inputs": [x], "outputs": [y]}).encode()
        thread = threading.Thread(target=lambda: answers.append(infer(shared, body, "slow")))
        thread.start()
        await_a_request(shared)
        assert unregister(shared, "busy").status == 200
        assert infer(shared, body, "slow").status == 404
        thread.join()
        assert [answer.status for answer in answers] == [200]
        assert memory.map[4096:4112] == sent.tobytes()


def test_bytes_that_change_do_no_harm(shared, memory):
    """Lengths of strings and integers flip while requests read them."""
    deadline = time.monotonic() + 3
    stop = threading.Event()

    def scribble() -> None:
        while not stop.is_set():
            memory.map[:16] = b"\x0c\0\0\0" + bytes(12)
            memory.map[:16] = b"\xff" * 16

    thread = threading.Thread(target=scribble)
    thread.start()
    seen = set()
    try:
        while time.monotonic() < deadline:
            body = asked(where("r", 16), where("r", 64, 4096), 1, "BYTES")
            answer = infer(shared, body, "strings")
            seen.add(answer.status)
            if answer.status == 200:
                assert memory.map[4096:4100] == b"\x0c\0\0\0", "as it was checked"
            body = asked(where("r", 16), where("r", 64, 8192), 2, "INT64")
            assert infer(shared, body, "ints").status == 200
    finally:
        stop.set()
        thread.join()
    assert seen <= {200, 400}
