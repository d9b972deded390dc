"""When a loop that ended is started again: at once, and later each time it does not last."""

from __future__ import annotations

FIRST_S, LONGEST_S, HEALTHY_S = 0.1, 10.0, 60.0


class Backoff:
    def __init__(self) -> None:
        self._next_s = 0.0

    def after(self, lived_s: float) -> float:
        """How long to wait after a loop that lived so long."""
        if lived_s >= HEALTHY_S:
            self._next_s = 0.0
        wait_s = self._next_s
        self._next_s = min(max(2 * wait_s, FIRST_S), LONGEST_S)
        return wait_s
