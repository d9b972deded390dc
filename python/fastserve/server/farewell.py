"""The last things that a server does: what takes a while, and what the log says then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec

from fastserve.config.units import format_duration_ns
from fastserve.server import logs
from fastserve.server.front_end import CutOff

P = ParamSpec("P")


async def away(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call it on a thread; where none is to be had any more, here: an end must not fail."""
    try:
        await asyncio.to_thread(call, *args, **kwargs)
    except RuntimeError as error:
        if "new thread" not in str(error):
            raise
        call(*args, **kwargs)


def say_drained(cut_off: CutOff, took_s: float) -> None:
    took = format_duration_ns(round(took_s * 1e9))
    if cut_off != CutOff():
        logs.warning(
            f"drained for {took}, until the time was up; cut off:"
            f" {_count(cut_off.requests, 'request')},"
            f" {_count(cut_off.connections, 'connection')}"
        )
    else:
        logs.info(f"drained in {took}; nothing was cut off")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
