"""Sizes and durations as people write them: "64MiB", "5ms"."""

from __future__ import annotations

import re

_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "k": 1 << 10,
    "m": 1 << 20,
    "g": 1 << 30,
}
_NANOSECONDS = {
    "": 10**9,
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-zµ]*)", re.ASCII | re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """`64MiB` -> 67108864. A bare number counts bytes. ValueError says what was expected."""
    return _parse(text, _BYTES, "a size such as 64MiB, 500kB or 1048576")


def parse_duration_ns(text: str) -> int:
    """`5ms` -> 5000000. A bare number counts seconds. ValueError says what was expected."""
    return _parse(text, _NANOSECONDS, "a duration such as 500us, 5ms, 2s or 1m")


def _parse(text: str, factors: dict[str, int], expected: str) -> int:
    match = _QUANTITY.fullmatch(text.strip().replace("µ", "u"))
    if match is None or match[2].lower() not in factors:
        raise ValueError(f"expected {expected}, found '{text}'")
    return round(float(match[1]) * factors[match[2].lower()])


def format_bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size and count % size == 0:
            return f"{count // size}{unit}"
    return f"{count}B"


def format_duration_ns(duration_ns: int) -> str:
    """Three significant digits in the unit that suits: "1.25 ms"."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if duration_ns >= size:
            return f"{duration_ns / size:.3g} {unit}"
    return f"{duration_ns} ns"
