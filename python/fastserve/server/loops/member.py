"""Member: one of several event loops, as its fleet sees it: a child process or a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fastserve.server.front_end import CutOff
from fastserve.server.live.loop_settings import LoopSettings
from fastserve.server.loops.tally import LoopStats


@dataclass(frozen=True)
class End:
    """How a loop ended. `cut_off` is None unless it was told to, and said what it had to cut."""

    cause: str
    cut_off: CutOff | None = None


class Member(Protocol):
    """Threads: the parent's loop.

    `parted` is done when it will take no new connections, on its way out or gone; `ended` when
    nothing of it is left. `last_words` are its counts at the end, where it could still say them.
    """

    number: int
    parted: asyncio.Future[None]
    ended: asyncio.Future[End]
    last_words: LoopStats | None

    @property
    def pid(self) -> int | None:
        """Of its process, if it has one of its own."""

    async def start(self) -> None:
        """Until it runs; it accepts nobody yet. Errors: Error when it ended instead."""

    async def accept(self) -> None:
        """From now on it takes connections. Errors: as start()."""

    async def snapshot(self) -> LoopStats:
        """What it counted. It may never answer: the caller sets a limit. Errors: as start()."""

    async def debug(self, limit: int) -> dict[str, Any]:
        """Gateway.debug(). As snapshot()."""

    def configure(self, settings: LoopSettings) -> asyncio.Future[Any]:
        """Told here and now. Done when it goes by these, or ended: nobody need await it."""

    def begin_drain(self) -> None:
        """Accept no more, let what is in flight finish, end."""

    def kill(self) -> None:
        """End it now, if that can be done."""


@dataclass
class ForwardedRequest:
    """A control request that reached another loop; what the router asks of one.

    `reply` brings the answer to where the request came from.
    """

    is_grpc: bool
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    peer: str
    peer_uid: int
    may_share: bool
    reply: Any

    def respond(
        self, status: int, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.reply(status, body, headers)
