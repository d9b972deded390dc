"""More requests than the queue holds: some are refused with 429, the others are right."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from tests import kserve
from tests.attacks.raw_http import Wire, post
from tests.served import Answer, Repository, Server

CLIENTS = 64
QUEUE_DEPTH = 4
PATIENCE_S = 5.0


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its loop never computes, so that it reads on while the one instance is busy."""
    models = Repository(tmp_path_factory.mktemp("overload") / "models")
    models.add_identity("busy", delay_us=20_000)
    flags = ("--queue-depth", str(QUEUE_DEPTH), "--caller-runs", "never", "--instances", "1")
    with Server(models.path, *flags) as running:
        yield running


def numbered(number: int) -> bytes:
    data = np.array([number, -number], np.float32)
    request = {"id": str(number), "inputs": [kserve.tensor("x", data)]}
    return post("busy", json.dumps(request).encode())


def timed(number: int, timeout_ms: int | str) -> bytes:
    field = f"\r\nInference-Timeout-Ms: {timeout_ms}\r\n".encode()
    return numbered(number).replace(b"\r\n", field, 1)


def check(number: int, answer: Answer) -> bool:
    """Whether it was served; a refusal must say what to do."""
    if answer.status == 429:
        assert "busy" in answer.error
        assert int(answer.headers["retry-after"]) >= 1
        return False
    assert answer.status == 200, answer
    assert answer.json["id"] == str(number)
    assert answer.json["outputs"][0]["data"] == [number, -number]
    return True


@pytest.mark.parametrize("turn", range(3))
def test_a_full_queue_refuses_and_loses_nothing(small_server, turn):
    before = small_server.metrics()
    wires = [Wire(small_server.port) for _ in range(CLIENTS)]
    try:
        for number, wire in enumerate(wires):
            wire.send(numbered(number))
        served = [check(number, wire.read()) for number, wire in enumerate(wires)]
        for wire in wires:
            wire.expect_alive()
    finally:
        for wire in wires:
            wire.close()
    assert sum(served) >= QUEUE_DEPTH
    assert not all(served), f"{CLIENTS} requests fitted a queue of {QUEUE_DEPTH}"
    after = small_server.metrics()
    successes, name = sum(served), "fastserve_requests_total"
    assert after.sum(name) - before.sum(name) == successes
    refused = after.sum("fastserve_request_failures_total", reason="rejected")
    refused -= before.sum("fastserve_request_failures_total", reason="rejected")
    assert refused == CLIENTS - successes


def test_health_is_answered_under_overload(small_server):
    wires = [Wire(small_server.port) for _ in range(CLIENTS)]
    try:
        for number, wire in enumerate(wires):
            wire.send(numbered(number))
        assert small_server.request("GET", "/v2/health/ready", timeout_s=1).status == 200
        assert small_server.request("GET", "/metrics", timeout_s=2).status == 200
        for number, wire in enumerate(wires):
            check(number, wire.read())
    finally:
        for wire in wires:
            wire.close()


def test_who_comes_back_later_is_served(small_server):
    with Wire(small_server.port) as wire:
        for number in range(5):
            wire.send(numbered(number))
            assert check(number, wire.read())


def test_a_deadline_is_kept_though_everything_is_busy(small_server):
    """Those who said how long they wait are told in time; the connection goes on."""
    wires = [Wire(small_server.port) for _ in range(QUEUE_DEPTH)]
    try:
        for number, wire in enumerate(wires):
            wire.send(timed(number, timeout_ms=1))
        for wire in wires:
            answer = wire.read()
            assert answer.status in (429, 503, 504), answer  # Busy for 20 ms: none can be met.
            wire.expect_alive()
    finally:
        for wire in wires:
            wire.close()


@pytest.mark.parametrize("timeout", ["0", "-1", "1e3", "86400001", "1, 1", "99999999999999999999"])
def test_a_timeout_that_is_none_is_refused(small_server, timeout):
    with Wire(small_server.port) as wire:
        wire.send(timed(1, timeout))
        answer = wire.read()
        assert answer.status == 400
        assert "Inference-Timeout-Ms" in answer.error
        wire.expect_alive()


def test_who_leaves_makes_room_while_the_model_is_busy(small_server):
    """A full queue of clients that leave at once does not keep others out."""
    for _ in range(5):
        wires = [Wire(small_server.port) for _ in range(QUEUE_DEPTH + 1)]
        for number, wire in enumerate(wires):
            wire.send(numbered(number))
        for wire in wires:
            wire.close()
    with Wire(small_server.port) as wire:
        small_server.wait_for(lambda: served_by(wire), lambda: "nobody is let in", PATIENCE_S)


def served_by(wire: Wire) -> bool:
    wire.send(numbered(1))
    return check(1, wire.read())
