"""Which of several servers is asked: the first that is well, or each in turn.

A server that could not be reached, or said that it is unavailable, is set aside for a while that
doubles with each failure. When all are aside, the one that has been longest is tried all the same.

Threads: any; a race asks a server once more or less.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from time import monotonic
from typing import Generic, Literal, TypeVar

Balance = Literal["pick_first", "round_robin"]
_ASIDE_S = 0.1
_ASIDE_MAX_S = 30.0

Channel = TypeVar("Channel")


class Server(Generic[Channel]):
    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.aside_until_s = 0.0
        self._failures = 0

    def succeeded(self) -> None:
        if self._failures:
            self._failures = 0
            self.aside_until_s = 0.0

    def failed(self) -> None:
        self._failures += 1
        aside = min(_ASIDE_S * 2 ** min(self._failures - 1, 20), _ASIDE_MAX_S)
        self.aside_until_s = monotonic() + aside


class Servers(Generic[Channel]):
    def __init__(self, channels: Sequence[Channel], balance: Balance) -> None:
        if balance not in ("pick_first", "round_robin"):
            raise ValueError(f"balance: expected pick_first or round_robin, found {balance!r}")
        self.all = [Server(channel) for channel in channels]
        self._turns = itertools.count() if balance == "round_robin" else itertools.repeat(0)

    def pick(self) -> Server[Channel]:
        if len(self.all) == 1:
            return self.all[0]
        first = next(self._turns) % len(self.all)
        now = monotonic()
        for server in self.all[first:] + self.all[:first]:
            if server.aside_until_s <= now:
                return server
        return min(self.all, key=lambda server: server.aside_until_s)
