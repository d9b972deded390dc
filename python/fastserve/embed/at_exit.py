"""What becomes of a server that nobody closed: it warns, and is taken down without ceremony.

Collected: on a thread of its own, since the collector may have stopped any thread, with any lock
held. At the interpreter's exit: the same, and the exit waits a moment, so that no thread of an
event loop is left when Python ends. A run that takes longer is left behind: it cannot be
interrupted, and no program should hang for it.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import threading
import warnings
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastserve.embed.shared import Shared

EXIT_WAIT_S = 2.0
_open: weakref.WeakSet[Shared] = weakref.WeakSet()


def watch(shared: Shared) -> None:
    """From now on the exit sees to it, as long as it is not closed."""
    _open.add(shared)


def abandon(shared: Shared, ended: threading.Event | None = None) -> None:
    """Warn, and take it down; never blocks."""
    if not shared.begin_close():
        return
    try:
        # Not Thread.start(): it takes locks that the interrupted thread may hold.
        _thread.start_new_thread(_take_down, (shared, ended or threading.Event()))
    finally:
        warnings.warn(
            "a fastserve.Server was not closed: use `with fastserve.Server()`, or close()",
            ResourceWarning,
            stacklevel=2,
        )


def _take_down(shared: Shared, ended: threading.Event) -> None:
    try:
        for listener in shared.listeners():
            listener.request_stop(drain=False)
        for listener in shared.listeners():
            listener.join(EXIT_WAIT_S)
        shared.retire()
    finally:
        ended.set()


@atexit.register
def _at_exit() -> None:
    waiting = []
    for shared in list(_open):
        if shared.is_closed or shared.is_forked:
            continue
        ended = threading.Event()
        with contextlib.suppress(RuntimeError):  # Some Pythons start no thread this late.
            abandon(shared, ended)
            waiting.append(ended)
    for ended in waiting:
        ended.wait(EXIT_WAIT_S)
