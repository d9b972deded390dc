"""How every event loop of the server is made."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

from fastserve._core.memory import limit_heaps

# How long another Python thread (a loader, a scrape) may keep the loop from the GIL; 5 ms is
# Python's default, and many times what a small request takes.
_SWITCH_INTERVAL_S = 0.001


def tune_process(loops: int = 1) -> None:
    """Before the first thread of a process that serves with so many loops."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    # One each, and one for all others, which seldom allocate: loaders, scrapes, engines' threads
    # come and go, and a heap for each of them is memory that nobody else can use.
    if not _heaps_are_decided():
        limit_heaps(1 + loops)


def _heaps_are_decided() -> bool:
    """By an administrator, in the C library's own words."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return "MALLOC_ARENA_MAX" in os.environ or "glibc.malloc.arena_max" in tunables


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
