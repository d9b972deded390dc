"""Clients that send slowly, stall or never read: others are served, and memory stays bounded."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.attacks.conftest import ECHO_BODY
from tests.attacks.raw_http import LIVE, Wire, head, post
from tests.served import Repository, Server

# The limits are checked once a second.
TIMEOUT_FLAGS = ("--head-timeout", "1s", "--body-timeout", "1s", "--idle-timeout", "2s")
CLOSED_WITHIN_S = 6.0
STALLED = 20
OTHERS_WITHIN_S = 2.0

FLOOD_ELEMENTS = 1 << 20
FLOOD_ANSWERS = 64  # 256 MiB in all.
GROWTH_BYTES_MAX = 128 << 20


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = Repository(tmp_path_factory.mktemp("slow") / "models")
    models.add("identity_int32")
    with Server(models.path, *TIMEOUT_FLAGS) as running:
        yield running


def check_others_are_served(server: Server) -> None:
    began_s = time.monotonic()
    answer = server.post("identity_int32", ECHO_BODY)
    assert answer.status == 200, answer
    assert server.request("GET", "/v2/health/ready").status == 200
    took_s = time.monotonic() - began_s
    assert took_s < OTHERS_WITHIN_S, f"two answers took {took_s:.1f} s"


def refused_or_closed(wire: Wire) -> None:
    """Closed without a word, or with one 408."""
    data = wire.read_to_end()
    assert data == b"" or data.startswith(b"HTTP/1.1 408 "), data[:200]
    assert data.count(b"HTTP/1.1 ") <= 1, data


UNFINISHED = {
    "no-byte": b"",
    "one-byte": b"G",
    "half-a-head": LIVE[:-10],
    "head-without-body": head(
        "POST /v2/models/identity_int32/infer HTTP/1.1", "Host: x", "Content-Length: 100"
    ),
    "half-a-body": post("identity_int32", ECHO_BODY)[:-10],
    "half-a-chunk": head(
        "POST /v2/models/identity_int32/infer HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"
    )
    + b"40\r\n{",
}


def test_stalled_clients_are_closed_and_others_served(strict_server):
    began_s = time.monotonic()
    wires = []
    try:
        for data in list(UNFINISHED.values()) * (STALLED // len(UNFINISHED) + 1):
            wire = Wire(strict_server.port)
            wires.append(wire)
            wire.send(data)
        for _ in range(10):
            check_others_are_served(strict_server)
        for wire in wires:
            refused_or_closed(wire)
        took_s = time.monotonic() - began_s
        assert took_s < CLOSED_WITHIN_S, f"they were closed after {took_s:.1f} s"
    finally:
        for wire in wires:
            wire.close()


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_stalled_client_is_closed_in_time(strict_server, name):
    with Wire(strict_server.port) as wire:
        wire.send(UNFINISHED[name])
        began_s = time.monotonic()
        refused_or_closed(wire)
        took_s = time.monotonic() - began_s
        assert 0.5 < took_s < CLOSED_WITHIN_S, f"it was closed after {took_s:.1f} s"


def test_a_head_that_drips_is_closed(strict_server):
    """The time is for the whole head: a byte now and then buys no more of it."""
    with Wire(strict_server.port) as wire:
        began_s = time.monotonic()
        wire.send(LIVE[:-2] + b"X: ")
        while not wire.has_input(within_s=0.2):
            assert time.monotonic() - began_s < CLOSED_WITHIN_S, "it is still open"
            wire.send(b"a")
        refused_or_closed(wire)


def test_a_body_that_drips_is_read(strict_server):
    """The time is between two reads: a slow link is no attack."""
    request = post("identity_int32", ECHO_BODY)
    with Wire(strict_server.port) as wire:
        wire.send(request[:-5])
        for index in range(len(request) - 5, len(request)):
            time.sleep(0.4)
            wire.send(request[index : index + 1])
        assert wire.read().status == 200


def test_an_idle_connection_is_closed_in_silence(strict_server):
    with Wire(strict_server.port) as wire:
        wire.send(LIVE)
        assert wire.read("GET").status == 200
        began_s = time.monotonic()
        wire.expect_close()
        took_s = time.monotonic() - began_s
        assert 1 < took_s < CLOSED_WITHIN_S, f"it was closed after {took_s:.1f} s"


def test_a_computing_request_is_not_idle(server):
    """No limit of the client's slowness counts while the server works."""
    body = json.dumps(
        {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
    ).encode()
    with Wire(server.port) as wire:
        wire.send(post("slow", body))
        assert wire.read().status == 200


def resident_bytes(server: Server) -> int:
    """As the server says itself: /proc may number processes otherwise than this test does."""
    return int(server.metrics().sum("process_resident_memory_bytes"))


def flood_request() -> bytes:
    tensor = {"name": "length", "shape": [1], "datatype": "INT64", "data": [FLOOD_ELEMENTS]}
    request = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    return post("flood", json.dumps(request).encode())


def test_a_client_that_never_reads_costs_a_bounded_amount(server):
    with Wire(server.port) as wire:  # The engine's memory grows with its first large answer.
        wire.send(flood_request())
        assert wire.read().status == 200
    before = resident_bytes(server)
    with Wire(server.port, receive_buffer_bytes=1 << 14) as wire:
        wire.send_some(flood_request() * FLOOD_ANSWERS, within_s=1)
        deadline_s = time.monotonic() + 2
        while time.monotonic() < deadline_s:
            check_others_are_served(server)
            growth = resident_bytes(server) - before
            assert growth < GROWTH_BYTES_MAX, f"the server grew by {growth >> 20} MiB"
            time.sleep(0.05)


def test_a_client_that_reads_late_gets_everything(server):
    with Wire(server.port, receive_buffer_bytes=1 << 14) as wire:
        wire.send(flood_request() * 8)
        time.sleep(0.5)
        for _ in range(8):
            answer = wire.read()
            assert answer.status == 200, answer.headers
            header_bytes = int(answer.headers["inference-header-content-length"])
            assert len(answer.body) - header_bytes == 4 * FLOOD_ELEMENTS
        wire.expect_alive()
