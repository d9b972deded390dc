"""Requests with bytes changed at random: any answer but a crash, a hang or a 500."""

import random
import re
import time

import numpy as np
import pytest

from tests import kserve
from tests.attacks.conftest import ECHO_BODY
from tests.attacks.raw_http import LIVE, Wire, chunked, head, post

MUTANTS = 250
SECONDS_MAX = 20.0
INTERESTING = (
    b"\r\n", b"\n", b"\0", b"\xff", b" ", b":", b",", b'"', b"[", b"{", b"}", b"0", b"-1",
    b"9" * 20, b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"HTTP/1.1",
    b"\\u0000", b"1e9", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
)  # fmt: skip
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def seeds() -> list[bytes]:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    body, headers = kserve.binary_body(
        [kserve.binary_tensor("x", array)], parameters={"binary_data_output": True}
    )
    lines = [f"{name}: {value}" for name, value in headers.items()]
    start = head(
        "POST /v2/models/identity_int32/infer HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"
    )
    echo = post("identity_int32", ECHO_BODY)
    return [
        LIVE,
        echo,
        post("identity_fp32", body, *lines),
        start + chunked(ECHO_BODY[:20], ECHO_BODY[20:], trailers=b"X: a\r\n"),
        echo + LIVE + echo,
    ]


def mutate(chance: random.Random, data: bytes) -> bytes:
    mutant = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        place = chance.randrange(len(mutant) + 1)
        kind = chance.randrange(5)
        if kind == 0 and place < len(mutant):
            mutant[place] ^= 1 << chance.randrange(8)
        elif kind == 1 and place < len(mutant):
            mutant[place] = chance.randrange(256)
        elif kind == 2:
            mutant[place:place] = chance.choice(INTERESTING)
        elif kind == 3:
            del mutant[place : place + chance.choice((1, 2, 10))]
        else:
            piece = mutant[place : place + chance.choice((1, 4, 30))]
            mutant[place:place] = piece * chance.choice((1, 2, 50))
    return bytes(mutant)


@pytest.mark.parametrize("seed", range(5))
def test_changed_requests_never_break_the_server(server, seed):
    chance = random.Random(seed)
    originals = seeds()
    began_s = time.monotonic()
    for number in range(MUTANTS):
        mutant = mutate(chance, originals[seed])
        with Wire(server.port) as wire:
            wire.send(mutant)
            wire.end_sending()
            data = wire.read_to_end()
        statuses = [int(status) for status in STATUS_LINE.findall(data)]
        assert not data or data.startswith(b"HTTP/1.1 "), (number, mutant, data[:200])
        assert all(status < 500 or status in (501, 505) for status in statuses), (number, mutant)
        took_s = time.monotonic() - began_s
        assert took_s < SECONDS_MAX, f"{number} mutants took {took_s:.0f} s"
    server.check_healthy()


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_no_request(server, seed):
    chance = random.Random(seed)
    for _ in range(50):
        with Wire(server.port) as wire:
            wire.send(chance.randbytes(chance.randrange(1, 2000)))
            wire.end_sending()
            data = wire.read_to_end()
        statuses = [int(status) for status in STATUS_LINE.findall(data)]
        assert all(400 <= status < 506 and status != 500 for status in statuses), data[:200]
    server.check_healthy()
