"""The gateway's reading, through the program gateway_reader: thousands of cases a second."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import cpp_items
from tests.attacks.readers.reading import Reading, Request

TIMEOUT_S = 120
NUMBER = struct.Struct("=I")


def read_all(preset: str, cases: Sequence[tuple[bytes, int]]) -> list[Reading]:
    """What the gateway makes of each case: bytes, and the size of the pieces they come in."""
    program = cpp_items.build(preset, "gateway_reader")
    sent = b"".join(NUMBER.pack(len(data)) + NUMBER.pack(piece) + data for data, piece in cases)
    return list(_readings(_run(preset, program, sent)))


def _run(preset: str, program: Path, sent: bytes) -> bytes:
    done = subprocess.run(
        [*cpp_items.launcher(preset), str(program)],
        input=sent,
        capture_output=True,
        env=cpp_items.environment(),
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def _readings(said: bytes) -> Iterator[Reading]:
    at = 0

    def number() -> int:
        nonlocal at
        at += NUMBER.size
        return int(NUMBER.unpack_from(said, at - NUMBER.size)[0])

    def text() -> bytes:
        nonlocal at
        size = number()
        at += size
        return said[at - size : at]

    def request() -> Request:
        method, target = text(), text()
        fields = tuple((text().lower(), text()) for _ in range(number()))
        return Request(method, target, fields, text())

    while at < len(said):
        requests = tuple(request() for _ in range(number()))
        heads, refused, closed = number(), number(), bool(number())
        yield Reading(requests, str(refused) if refused else "", closed, heads)
