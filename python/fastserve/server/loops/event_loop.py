"""How every event loop of the server is made."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

# How long another Python thread (a loader, a scrape) may keep the loop from the GIL; 5 ms is
# Python's default, and many times what a small request takes.
_SWITCH_INTERVAL_S = 0.001


def set_switch_interval() -> None:
    sys.setswitchinterval(_SWITCH_INTERVAL_S)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
