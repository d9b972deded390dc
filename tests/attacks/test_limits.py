"""Heads and bodies that are too large, and 100-continue, which asks before it sends."""

import json

import numpy as np
import pytest

from tests import kserve
from tests.attacks.conftest import ECHO_BODY
from tests.attacks.raw_http import LIVE, Wire, chunked, head, only_answer, post

# The server of these tests runs with --max-body 1MiB.
BODY_BYTES_MAX = 1 << 20
INFER = "POST /v2/models/identity_fp32/infer HTTP/1.1"


def padded(count: int) -> bytes:
    """A request whose head has about `count` bytes."""
    return LIVE[:-2] + b"X: " + b"a" * count + b"\r\n\r\n"


def fp32_body(size: int) -> tuple[bytes, list[str]]:
    """A binary request of exactly `size` bytes."""
    elements = size // 4
    while True:
        array = np.zeros((1, elements), np.float32)
        body, headers = kserve.binary_body([kserve.binary_tensor("x", array)])
        if len(body) <= size:
            break
        elements -= 1
    # Blanks behind the JSON make up for what is no whole element.
    length = int(headers[kserve.HEADER_LENGTH])
    blanks = size - len(body)
    body = body[:length] + b" " * blanks + body[length:]
    return body, [f"{kserve.HEADER_LENGTH}: {length + blanks}"]


# -- Heads -----------------------------------------------------------------------------------------


def test_a_head_below_16_kib_is_read(server):
    with Wire(server.port) as wire:
        wire.send(padded(15 << 10))
        assert wire.read("GET").status == 200
        wire.expect_alive()


@pytest.mark.parametrize("size", [17 << 10, 1 << 20])
def test_a_head_above_16_kib_is_431(server, size):
    answer = only_answer(server.port, padded(size))
    assert answer.status == 431, answer
    assert answer.error


def test_a_head_that_never_ends_is_431(server):
    answer = only_answer(server.port, padded(20 << 10)[:-4])
    assert answer.status == 431, answer


def test_a_hundred_thousand_headers_are_431(server):
    many = b"".join(b"X%d: a\r\n" % number for number in range(100_000))
    answer = only_answer(server.port, LIVE[:-2] + many + b"\r\n")
    assert answer.status == 431, answer


def test_a_target_without_end_is_refused(server):
    answer = only_answer(server.port, b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.status in (414, 431), answer


def test_many_empty_lines_are_skipped_or_refused(server):
    lines = b"\r\n" * (1 << 16)
    request = head("GET /v2/health/live HTTP/1.1", "Host: x", "Connection: close")
    assert only_answer(server.port, lines + request, "GET").status in (200, 400, 431)


# -- Bodies ----------------------------------------------------------------------------------------


def test_a_body_of_the_largest_size_is_served(server):
    body, headers = fp32_body(BODY_BYTES_MAX)
    assert len(body) == BODY_BYTES_MAX
    with Wire(server.port) as wire:
        wire.send(post("identity_fp32", body, *headers))
        answer = wire.read()
        assert answer.status == 200, answer
        wire.expect_alive()


@pytest.mark.parametrize("size", [BODY_BYTES_MAX + 1, 1 << 40, 2**63 - 1])
def test_a_large_content_length_is_413_before_the_body_is_sent(server, size):
    answer = only_answer(server.port, head(INFER, "Host: x", f"Content-Length: {size}"))
    assert answer.status == 413, answer
    assert str(BODY_BYTES_MAX) in answer.error


def test_a_large_body_that_is_sent_all_the_same_is_413_once(server):
    answer = only_answer(server.port, post("identity_fp32", bytes(BODY_BYTES_MAX + 1)))
    assert answer.status == 413, answer


@pytest.mark.parametrize("chunk_bytes", [1 << 16, 2 << 20])
def test_a_large_chunked_body_is_413(server, chunk_bytes):
    start = head(INFER, "Host: x", "Transfer-Encoding: chunked")
    body = chunked(*(bytes(chunk_bytes) for _ in range((2 << 20) // chunk_bytes)))
    answer = only_answer(server.port, start + body)
    assert answer.status == 413, answer
    assert str(BODY_BYTES_MAX) in answer.error


def test_a_chunk_that_is_too_large_is_413_before_it_is_sent(server):
    start = head(INFER, "Host: x", "Transfer-Encoding: chunked")
    answer = only_answer(server.port, start + b"7fffffff\r\n")
    assert answer.status == 413, answer


def test_a_body_of_one_byte_chunks_is_read_or_refused(server):
    """Triton fell over the number of chunks once."""
    body = json.dumps({"inputs": [kserve.tensor("x", np.zeros((1, 8000), np.int32))]}).encode()
    start = head(INFER.replace("fp32", "int32"), "Host: x", "Transfer-Encoding: chunked")
    with Wire(server.port) as wire:
        wire.send(start + chunked(*(body[i : i + 1] for i in range(len(body)))))
        assert wire.read().status in (200, 400, 413)


def test_chunk_extensions_and_trailers_are_bounded(server):
    start = head(INFER, "Host: x", "Transfer-Encoding: chunked")
    for endless in (b"1;" + b"a" * (1 << 20), b"0\r\n" + b"X: a\r\n" * (1 << 18)):
        answer = only_answer(server.port, start + endless)
        assert answer.status in (400, 413, 431), answer


# -- Expect: 100-continue --------------------------------------------------------------------------


def expecting(size: int, model: str = "identity_int32") -> bytes:
    start = INFER.replace("identity_fp32", model)
    return head(start, "Host: x", f"Content-Length: {size}", "Expect: 100-continue")


def test_who_asks_is_told_to_continue(server):
    with Wire(server.port) as wire:
        for _ in range(2):
            wire.send(expecting(len(ECHO_BODY)))
            assert wire.read_any().status == 100
            wire.send(ECHO_BODY)
            assert wire.read_any().status == 200
        wire.expect_alive()


def test_who_does_not_wait_is_served_too(server):
    with Wire(server.port) as wire:
        wire.send(expecting(len(ECHO_BODY)) + ECHO_BODY)
        answer = wire.read()
        assert answer.status == 200, answer
        assert answer.json["outputs"][0]["data"] == [1, 2, 3]
        wire.expect_alive()


def test_who_is_refused_is_not_told_to_continue(server):
    with Wire(server.port) as wire:
        wire.send(expecting(BODY_BYTES_MAX + 1))
        answer = wire.read_any()
        assert answer.status == 413, answer
        wire.expect_close()


def test_a_client_of_http_1_0_is_not_told_to_continue(server):
    with Wire(server.port) as wire:
        wire.send(expecting(len(ECHO_BODY)).replace(b"HTTP/1.1", b"HTTP/1.0") + ECHO_BODY)
        assert wire.read_any().status == 200
        wire.expect_close()
