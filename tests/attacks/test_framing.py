"""Requests in any pieces, many in one packet, and what keeps a connection open."""

import json
import time

import numpy as np
import pytest

from tests import kserve
from tests.attacks.conftest import ECHO_BODY
from tests.attacks.raw_http import LIVE, Wire, head, post

ECHO = post("identity_int32", ECHO_BODY)
# Long enough for the server to read what was sent so far.
PAUSE_S = 0.002


def numbered(number: int) -> bytes:
    data = np.array([[number]], np.int32)
    request = {"id": str(number), "inputs": [kserve.tensor("x", data)]}
    return post("identity_int32", json.dumps(request).encode())


def expect_number(wire, number):
    answer = wire.read()
    assert answer.status == 200, answer
    assert answer.json["id"] == str(number)
    assert answer.json["outputs"][0]["data"] == [number]


# -- Pieces ----------------------------------------------------------------------------------------


def test_a_request_may_come_byte_by_byte(server):
    with Wire(server.port) as wire:
        for index in range(len(ECHO)):
            wire.send(ECHO[index : index + 1])
        answer = wire.read()
        assert answer.status == 200, answer
        assert answer.json["outputs"][0]["data"] == [1, 2, 3]
        wire.expect_alive()


def test_a_request_may_be_split_anywhere(server):
    with Wire(server.port) as wire:
        for position in range(1, len(ECHO)):
            wire.send(ECHO[:position])
            time.sleep(PAUSE_S)
            wire.send(ECHO[position:])
            answer = wire.read()
            assert answer.status == 200, (position, answer)
        wire.expect_alive()


def test_a_chunked_request_may_be_split_anywhere(server):
    start = head(
        "POST /v2/models/identity_int32/infer HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"
    )
    half = len(ECHO_BODY) // 2
    body = b"%x\r\n%s\r\n%X;a=b\r\n%s\r\n0\r\nX: a\r\n\r\n" % (
        half, ECHO_BODY[:half], len(ECHO_BODY) - half, ECHO_BODY[half:],
    )  # fmt: skip
    with Wire(server.port) as wire:
        for position in range(1, len(body)):
            wire.send(start + body[:position])
            time.sleep(PAUSE_S)
            wire.send(body[position:])
            answer = wire.read()
            assert answer.status == 200, (position, answer)
        wire.expect_alive()


def test_pieces_may_end_within_the_next_request(server):
    stream = b"".join(numbered(number) for number in range(40))
    with Wire(server.port) as wire:
        for start in range(0, len(stream), 97):
            wire.send(stream[start : start + 97])
        for number in range(40):
            expect_number(wire, number)
        wire.expect_alive()


# -- Pipelines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [10, 200])
def test_requests_in_one_packet_are_answered_in_order(server, count):
    with Wire(server.port) as wire:
        wire.send(b"".join(numbered(number) for number in range(count)))
        for number in range(count):
            expect_number(wire, number)
        wire.expect_alive()


def test_quick_answers_wait_for_slow_ones_before_them(server):
    slow = json.dumps({"id": "slow", "inputs": [kserve.tensor("x", np.zeros(1, np.float32))]})
    with Wire(server.port) as wire:
        wire.send(post("slow", slow.encode()) + numbered(1) + LIVE + numbered(2))
        assert wire.read().json["id"] == "slow"
        expect_number(wire, 1)
        assert wire.read("GET").json == {"live": True}
        expect_number(wire, 2)
        wire.expect_alive()


def test_errors_keep_their_place_in_a_pipeline(server):
    missing = head("GET /nothing HTTP/1.1", "Host: x")
    with Wire(server.port) as wire:
        wire.send(
            numbered(1) + missing + post("nothing", ECHO_BODY) + numbered(2)
            + post("identity_int32", b"{") + numbered(3)
        )  # fmt: skip
        expect_number(wire, 1)
        assert wire.read().status == 404
        assert wire.read().status == 404
        expect_number(wire, 2)
        assert wire.read().status == 400
        expect_number(wire, 3)
        wire.expect_alive()


def test_what_follows_connection_close_is_not_read(server):
    with Wire(server.port) as wire:
        wire.send(numbered(1) + post("identity_int32", ECHO_BODY, "Connection: close") + LIVE)
        expect_number(wire, 1)
        answer = wire.read()
        assert answer.status == 200, answer
        assert answer.headers["connection"].lower() == "close"
        wire.expect_close()


# -- Keep-alive ------------------------------------------------------------------------------------


SURVIVED = {
    "bad-json": (post("identity_int32", b"{"), 400),
    "empty-body": (post("identity_int32", b""), 400),
    "wrong-shape": (
        post(
            "add_mul",
            b'{"inputs":[{"name":"a","shape":[1,3],"datatype":"FP32","data":[1,2,3]},'
            b'{"name":"b","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}',
        ),
        400,
    ),
    "header-length": (post("identity_int32", ECHO_BODY, f"{kserve.HEADER_LENGTH}: 9999"), 400),
    "unknown-model": (post("nothing", ECHO_BODY), 404),
    "unknown-version": (ECHO.replace(b"/infer", b"/versions/9/infer"), 404),
    "unknown-path": (head("GET /nothing HTTP/1.1", "Host: x"), 404),
    "unknown-path-with-body": (ECHO.replace(b"/v2/", b"/v9/"), 404),
    "wrong-verb": (head("GET /v2/models/identity_int32/infer HTTP/1.1", "Host: x"), 405),
    "wrong-verb-with-body": (ECHO.replace(b"POST", b"PUT"), 405),
    "shared-memory": (
        post(
            "identity_int32",
            b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"INT32",'
            b'"parameters":{"shared_memory_region":"r","shared_memory_byte_size":4}}]}',
        ),
        404,
    ),
}


@pytest.mark.parametrize("name", SURVIVED)
def test_the_connection_survives_an_error(server, name):
    sent, status = SURVIVED[name]
    with Wire(server.port) as wire:
        for _ in range(2):
            wire.send(sent)
            answer = wire.read()
            assert answer.status == status, answer
            assert answer.error
            assert answer.headers.get("connection", "").lower() != "close", answer
        wire.send(numbered(7))
        expect_number(wire, 7)
        wire.expect_alive()


def test_head_has_no_body_and_the_connection_survives(server):
    with Wire(server.port) as wire:
        wire.send(LIVE.replace(b"GET", b"HEAD") + LIVE)
        assert wire.read("HEAD").status == 200
        assert wire.read("GET").json == {"live": True}
        wire.expect_alive()


@pytest.mark.parametrize("host", [b"Host: x\r\n", b""])
def test_http_1_0_closes(server, host):
    request = b"GET /v2/health/live HTTP/1.0\r\n%s\r\n" % host
    with Wire(server.port) as wire:
        wire.send(request + request)
        assert wire.read("GET").status == 200
        wire.expect_close()


def test_http_1_0_may_ask_to_stay(server):
    request = b"GET /v2/health/live HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
    with Wire(server.port) as wire:
        for _ in range(3):
            wire.send(request)
            answer = wire.read("GET")
            assert answer.status == 200, answer
            assert answer.headers["connection"].lower() == "keep-alive"
        wire.send(post("identity_int32", ECHO_BODY, version="1.0"))
        assert wire.read().status == 200
        wire.expect_close()


@pytest.mark.parametrize("value", ["close", "Close", "x, close", "close, x"])
def test_connection_close_closes(server, value):
    with Wire(server.port) as wire:
        wire.send(head("GET /v2/health/live HTTP/1.1", "Host: x", f"Connection: {value}"))
        assert wire.read("GET").status == 200
        wire.expect_close()
