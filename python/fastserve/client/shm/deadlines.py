"""Until when a request may take, as the core counts it: nanoseconds of CLOCK_MONOTONIC."""

from __future__ import annotations

from time import monotonic_ns
from typing import TypeAlias

Seconds: TypeAlias = float
NEVER = 2**63 - 1
# Thirty years: for ever.
_LONGEST_S = 1e9
# The server ends what is late, and says more of it than this client could: it has so long to.
_GRACE_NS = 10_000_000


def until(timeout_s: Seconds | None) -> int:
    """That many seconds from now; None: never. Errors: ValueError."""
    if timeout_s is None:
        return NEVER
    if not timeout_s > 0:
        raise ValueError(f"timeout: expected seconds above 0, found {timeout_s}")
    if timeout_s >= _LONGEST_S:
        return NEVER
    return monotonic_ns() + int(timeout_s * 1e9)


def give_up_at(deadline_ns: int) -> int:
    """Until when an answer to a request with that deadline is waited for."""
    return deadline_ns if deadline_ns == NEVER else deadline_ns + _GRACE_NS


def left_s(until_ns: int) -> Seconds:
    """Seconds, at least 0. Not of NEVER."""
    return max(until_ns - monotonic_ns(), 0) / 1e9
