"""Clients that leave in the middle of everything: nothing of theirs stays behind."""

import json

import numpy as np
import pytest

from tests import kserve
from tests.attacks.conftest import ECHO_BODY
from tests.attacks.raw_http import LIVE, Wire, head, post

CLIENTS = 20
GONE_WITHIN_S = 5.0

ECHO = post("identity_int32", ECHO_BODY)
SLOW = post(
    "slow",
    json.dumps({"inputs": [kserve.tensor("x", np.zeros(4, np.float32))]}).encode(),
)
LARGE = post("identity_fp32", bytes(1 << 20))

LEFT_AFTER = {
    "connect": b"",
    "half-a-head": LIVE[:-3],
    "head": head(
        "POST /v2/models/identity_int32/infer HTTP/1.1", "Host: x", "Content-Length: 1000"
    ),
    "half-a-body": ECHO[:-10],
    "half-a-large-body": LARGE[: len(LARGE) // 2],
    "half-a-chunk": head(
        "POST /v2/models/identity_int32/infer HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"
    )
    + b"ff\r\n{",
    "request": ECHO,
    "slow-request": SLOW,
    "slow-pipeline": SLOW + ECHO * 5,
    "request-and-a-half": ECHO + ECHO[:50],
    "control-request": b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
}


def check_nobody_is_left(server):
    server.check_healthy()
    gauge = "fastserve_connections"
    server.wait_for(
        lambda: server.metrics().sum(gauge) <= 1,  # The scrape's own.
        lambda: f"{server.metrics().sum(gauge):.0f} connections are still open",
        GONE_WITHIN_S,
    )


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("name", LEFT_AFTER)
def test_nothing_stays_of_clients_that_leave(server, name, how):
    wires = [Wire(server.port) for _ in range(CLIENTS)]
    for wire in wires:
        wire.send(LEFT_AFTER[name])
    for wire in wires:
        getattr(wire, how)()
    check_nobody_is_left(server)
    assert server.post("identity_int32", ECHO_BODY).status == 200


@pytest.mark.parametrize("how", ["close", "reset"])
def test_nothing_stays_of_clients_that_leave_while_it_computes(server, how):
    """They are seen to compute first; some leave, the others get their answers."""
    wires = [Wire(server.port) for _ in range(4)]
    for wire in wires:
        wire.send(SLOW)
    idle = 1  # The scrape may count itself.
    server.wait_for(
        lambda: server.metrics().sum("fastserve_in_flight_requests") > idle,
        lambda: "no request was ever in flight",
        GONE_WITHIN_S,
    )
    for wire in wires[::2]:
        getattr(wire, how)()
    for wire in wires[1::2]:
        answer = wire.read()
        assert answer.status == 200, answer
        assert answer.json["outputs"][0]["data"] == [0, 0, 0, 0]
        wire.close()
    check_nobody_is_left(server)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_work_that_nobody_waits_for_is_not_done(server, how):
    """One request computes; those behind it are dropped when their clients are seen to be gone."""
    name = "fastserve_executions_total"
    before = server.metrics().sum(name, model="slow")
    wires = [Wire(server.port) for _ in range(CLIENTS)]
    for wire in wires:
        wire.send(SLOW)
    for wire in wires:
        getattr(wire, how)()
    check_nobody_is_left(server)
    executions = server.metrics().sum(name, model="slow") - before
    assert executions <= CLIENTS / 2, f"{executions:.0f} of {CLIENTS} were computed"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_in_the_middle_of_its_answer_frees_it(server, how):
    tensor = {"name": "length", "shape": [1], "datatype": "INT64", "data": [1 << 20]}
    request = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    for _ in range(5):
        wire = Wire(server.port, receive_buffer_bytes=1 << 14)
        wire.send(post("flood", json.dumps(request).encode()))
        assert wire.has_input(within_s=5)
        getattr(wire, how)()
    check_nobody_is_left(server)
