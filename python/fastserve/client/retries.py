"""When a call is tried again: pauses that double, and a budget, so that a server that cannot keep
up is not asked even more.

The budget is gRPC's retry throttling: each failure takes a token, each success gives a tenth of one
back, and at half of them or fewer nothing is tried again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from fastserve.client.call_error import CallError

_TOKENS_MAX = 10.0
_TOKENS_PER_SUCCESS = 0.1


@dataclass(frozen=True)
class Retries:
    """Of calls that may be made twice: all but those that belong to a sequence.

    `attempts`: how often a call is made at most, 1 for never again. Pauses are random between half
    and all of `pause_s`, which doubles up to `pause_max_s`; a server's Retry-After counts, if it is
    longer.
    """

    attempts: int = 4
    pause_s: float = 0.05
    pause_max_s: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts: expected at least 1, found {self.attempts}")
        if not 0 <= self.pause_s <= self.pause_max_s:
            raise ValueError("pause_s: expected at least 0 and at most pause_max_s")

    def pause_before(self, attempt: int, error: CallError) -> float:
        """Seconds before that attempt, the second of which is 1."""
        longest: float = min(self.pause_s * 2 ** (attempt - 1), self.pause_max_s)
        # Spread, so that clients that failed together do not come back together.
        pause = longest * random.uniform(0.5, 1.0)
        return max(pause, error.retry_after_s or 0.0)


class RetryBudget:
    """Of one client. Threads: any; a race loses a tenth of a token."""

    def __init__(self) -> None:
        self._tokens = _TOKENS_MAX

    def succeeded(self) -> None:
        if self._tokens < _TOKENS_MAX:
            self._tokens = min(self._tokens + _TOKENS_PER_SUCCESS, _TOKENS_MAX)

    def failed(self) -> bool:
        """Whether there is one more attempt in it."""
        self._tokens = max(self._tokens - 1.0, 0.0)
        return self._tokens > _TOKENS_MAX / 2
