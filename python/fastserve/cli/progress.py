"""Waiting: tells a person at a terminal that something takes a while, and for how long it has."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

_FIRST_S, _PERIOD_S = 0.5, 1.0
_CLEAR = "\r\x1b[K"


class Waiting:
    """`with Waiting("loading digits"):` Nothing is written where nobody looks, or when it is
    over soon."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if sys.stderr.isatty():
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        began_s, wait_s, is_shown = time.monotonic(), _FIRST_S, False
        while not self._end.wait(wait_s):
            print(f"{_CLEAR}{self._what}, {time.monotonic() - began_s:.0f} s",
                  end="", file=sys.stderr, flush=True)  # fmt: skip
            wait_s, is_shown = _PERIOD_S, True
        if is_shown:
            print(_CLEAR, end="", file=sys.stderr, flush=True)
