"""Clients that read little, late or never, and crowds of them: bounded, ended, and nobody waits."""

import json
import resource
import time
from collections.abc import Iterator

import pytest

from tests.attacks.conftest import flood
from tests.attacks.raw_http import LIVE, Wire, head, post
from tests.faults.conftest import is_right, numbered
from tests.served import Repository, Server

# The limits are checked once a second.
TIMEOUT_FLAGS = ("--head-timeout", "2s", "--body-timeout", "1s", "--idle-timeout", "2s")
ENDED_WITHIN_S = 8.0
OTHERS_WITHIN_S = 2.0
ANSWER_ELEMENTS = 150_000  # 600 KB.
# More than all the buffers of the kernel on both sides take.
ANSWERS = 40
SMALL_WINDOW_BYTES = 1 << 12
CROWD = 2000
BYTES_OF_ONE_MAX = 24 << 10
GROWTH_BYTES_MAX = 64 << 20


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = Repository(tmp_path_factory.mktemp("hostile") / "models")
    models.add_identity("echo", dims="-1, -1")
    models.add_made("flood", flood())
    with Server(models.path, *TIMEOUT_FLAGS) as running:
        yield running


def large_answers(count: int) -> bytes:
    tensor = {"name": "length", "shape": [1], "datatype": "INT64", "data": [ANSWER_ELEMENTS]}
    request = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    return post("flood", json.dumps(request).encode()) * count


def resident_bytes(server: Server) -> int:
    return int(server.metrics().sum("process_resident_memory_bytes"))


def check_others_are_served(server: Server) -> None:
    began_s = time.monotonic()
    with Wire(server.port) as wire:
        wire.send(numbered(3))
        assert is_right(wire.read(), 3)
    took_s = time.monotonic() - began_s
    assert took_s < OTHERS_WITHIN_S, f"an answer took {took_s:.1f} s"


def await_one_connection(server: Server) -> None:
    """Until the scrape's own is the only one."""
    server.wait_for(
        lambda: server.metrics().sum("fastserve_connections") <= 1,
        lambda: f"{server.metrics().sum('fastserve_connections'):.0f} connections are open",
        ENDED_WITHIN_S,
    )


@pytest.fixture
def bounded(strict) -> Iterator[None]:
    """Whatever the test does costs a bounded amount, and others are served after it."""
    with Wire(strict.port) as wire:  # The engine's memory grows with its first large answer.
        wire.send(large_answers(1))
        assert wire.read().status == 200
    before = resident_bytes(strict)
    yield
    growth = resident_bytes(strict) - before
    assert growth < GROWTH_BYTES_MAX, f"the server grew by {growth >> 20} MiB"
    check_others_are_served(strict)
    await_one_connection(strict)


def test_a_reader_that_stops_in_an_answer_is_ended(strict, bounded):
    with Wire(strict.port, receive_buffer_bytes=SMALL_WINDOW_BYTES) as wire:
        wire.send_some(large_answers(ANSWERS), within_s=0.5)
        assert wire.has_input(within_s=5)
        await_one_connection(strict)


def test_a_reader_of_single_bytes_is_ended(strict, bounded):
    """It makes progress, but an answer would take it days."""
    with Wire(strict.port, receive_buffer_bytes=1) as wire:  # The kernel makes it some 2 KB.
        wire.send_some(large_answers(ANSWERS), within_s=0.5)
        deadline_s = time.monotonic() + ENDED_WITHIN_S
        while strict.metrics().sum("fastserve_connections") > 1:
            assert time.monotonic() < deadline_s, "it is still open"
            wire.read_byte()
            check_others_are_served(strict)
            time.sleep(0.05)


def test_an_endless_pipeline_that_nobody_reads_is_ended(strict, bounded):
    """Small answers pile up in the kernel until the server stops reading."""
    with Wire(strict.port, receive_buffer_bytes=SMALL_WINDOW_BYTES) as wire:
        requests = LIVE * (1 << 16)
        total = 0
        for _ in range(64):
            sent = wire.send_some(requests, within_s=0.5)
            total += sent
            if sent < len(requests):
                break
            check_others_are_served(strict)
        assert sent < len(requests), f"it read {total >> 20} MiB and was never read"
        await_one_connection(strict)


def test_a_crowd_of_half_open_connections_costs_little_and_is_ended(strict, bounded):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * CROWD)), hard))
    before = resident_bytes(strict)
    wires: list[Wire] = []
    try:
        for number in range(CROWD):
            wires.append(Wire(strict.port))
            wires[-1].send(LIVE[: 5 + number % 20])
            if number % 200 == 0:
                check_others_are_served(strict)
        each = (resident_bytes(strict) - before) / CROWD
        assert each < BYTES_OF_ONE_MAX, f"each costs {each / 1024:.0f} KiB"
        await_one_connection(strict)
    finally:
        for wire in wires:
            wire.close()


def test_a_body_of_drips_is_served_at_last_and_nobody_waits_for_it(strict, bounded):
    """Longer than the body's time in all, but never between two reads."""
    request = numbered(5)
    with Wire(strict.port) as wire:
        wire.send(request[:-20])
        for index in range(len(request) - 20, len(request)):
            time.sleep(0.1)
            wire.send(request[index : index + 1])
            check_others_are_served(strict)
        assert is_right(wire.read(), 5)


def test_a_body_that_stops_dripping_is_ended(strict, bounded):
    with Wire(strict.port) as wire:
        wire.send(head("POST /v2/models/echo/infer HTTP/1.1", "Host: x", "Content-Length: 60000"))
        for _ in range(5):
            time.sleep(0.1)
            wire.send(b"{")
        assert wire.read().status == 408
        wire.expect_close()
