"""Farewells: who waits for versions that were retired until nothing of them is left.

What is in flight is still answered by them, and then an engine is taken down: seconds may pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

# One that takes long does not keep the others from being noticed.
_LOOK_PERIOD_S = 0.02


class Departure(Protocol):
    """_core.Departure, or that of a version in several processes."""

    @property
    def is_gone(self) -> bool: ...
    def wait(self, timeout_s: float | None = None) -> bool: ...


@dataclass(eq=False)
class _Farewell:
    departure: Departure
    on_gone: Callable[[], None]
    owner: object


class Farewells:
    """Threads: any. One of its own waits while there is anything to wait for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[_Farewell] = []
        self._is_running = False

    def expect(
        self, departure: Departure | None, on_gone: Callable[[], None], owner: object = None
    ) -> None:
        """Call `on_gone` when it is gone: now, if it is already. `owner`: see wait()."""
        if departure is None or departure.is_gone:
            on_gone()
            return
        with self._changed:
            self._waiting.append(_Farewell(departure, on_gone, owner))
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="farewell", daemon=True).start()

    def wait(self, timeout_s: float, owner: object = None) -> bool:
        """Until all that is expected now, of this owner or of all, is gone and was told so; whether
        it is."""
        with self._changed:
            expected = [one for one in self._waiting if owner is None or one.owner is owner]
            return self._changed.wait_for(
                lambda: not any(one in self._waiting for one in expected), timeout_s
            )

    def _run(self) -> None:
        while True:
            with self._changed:
                waiting = list(self._waiting)
                if not waiting:
                    self._is_running = False
                    return
            waiting[0].departure.wait(_LOOK_PERIOD_S)
            gone = [one for one in waiting if one.departure.is_gone]
            for one in gone:
                one.on_gone()
            with self._changed:
                self._waiting = [one for one in self._waiting if one not in gone]
                self._changed.notify_all()
