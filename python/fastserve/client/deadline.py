"""Deadline: until when a call may take, attempts and pauses included."""

from __future__ import annotations

from time import monotonic

from fastserve.client.call_error import too_late


class Deadline:
    __slots__ = ("_at_s",)

    def __init__(self, timeout_s: float | None) -> None:
        """None: it never passes. Errors: ValueError."""
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout: expected seconds above 0, found {timeout_s}")
        self._at_s = None if timeout_s is None else monotonic() + timeout_s

    def left_s(self) -> float | None:
        """Seconds, more than 0. Errors: DEADLINE_EXCEEDED."""
        if self._at_s is None:
            return None
        left = self._at_s - monotonic()
        if left <= 0:
            raise too_late()
        return left

    def allows(self, pause_s: float) -> bool:
        """Whether it would not have passed after a pause."""
        return self._at_s is None or monotonic() + pause_s < self._at_s
