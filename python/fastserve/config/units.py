"""Sizes, durations and counts as people write them: "64MiB", "5ms", "8"."""

from __future__ import annotations

import re
from fractions import Fraction

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
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}
# 40 digits are more than the core's 64-bit integers hold, and few enough to compute with.
_QUANTITY = re.compile(r"(\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_INTEGER = re.compile(r"[-+]?\d{1,40}", re.ASCII)
_CORE_MAX = 2**63 - 1
COUNT_MAX = 2**31 - 1


def parse_bytes(text: str) -> int:
    """`64MiB` -> 67108864. A bare number counts bytes. ValueError says what was expected."""
    return _parse(text, _BYTES, "a size such as 64MiB, 500kB or 1048576")


def parse_duration_ns(text: str) -> int:
    """`5ms` -> 5000000. A bare number counts seconds. ValueError says what was expected."""
    return _parse(text, _NANOSECONDS, "a duration such as 500us, 5ms, 2s or 1m")


def _parse(text: str, factors: dict[str, int], expected: str) -> int:
    # Keyboards have the micro sign, documents the Greek letter.
    match = _QUANTITY.fullmatch(text.strip().replace("\u00b5", "u").replace("\u03bc", "u"))
    if match is None or match[2].lower() not in factors:
        raise ValueError(f"expected {expected}, found '{text}'")
    # Exact: a float would move the last digits of a large size.
    value = round(Fraction(match[1]) * factors[match[2].lower()])
    if value > _CORE_MAX:
        raise ValueError(f"expected {expected}, found '{text}', which is too large")
    return value


def parse_integer(text: str, minimum: int, maximum: int = COUNT_MAX) -> int:
    """A count in decimal digits. ValueError says what was expected."""
    match = _INTEGER.fullmatch(text.strip())
    value = int(match[0]) if match else minimum - 1
    if not minimum <= value <= maximum:
        wide = maximum == COUNT_MAX and value <= maximum
        span = f"of at least {minimum}" if wide else f"from {minimum} to {maximum}"
        raise ValueError(f"expected an integer {span}, found '{text}'")
    return value


def format_bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size and count % size == 0:
            return f"{count // size}{unit}"
    return f"{count}B"


def approximate_bytes(count: int) -> str:
    """Three significant digits in the unit that suits: "286 MiB"; whole ones from 1000 on."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            value = count / size
            return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"
    return f"{count} B"


def format_duration_ns(duration_ns: int) -> str:
    """Three significant digits in the unit that suits: "1.25 ms"; whole seconds from 1000 on."""
    if duration_ns < 1000:
        return f"{duration_ns} ns"
    for unit, size in (("us", 10**3), ("ms", 10**6), ("s", 10**9)):
        if duration_ns < 999.5 * size:  # 999.7 us would become 1e+03 us: it is 1 ms.
            return f"{duration_ns / size:.3g} {unit}"
    return f"{duration_ns / 10**9:.0f} s"
