"""EventLog: what changed, in order, for whoever wants to follow it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

# A client that is away for longer is told that it missed something.
EVENTS_MAX = 1000


@dataclass(frozen=True)
class Event:
    """A version entered a state, or the model itself changed (`version` None): its labels, or why
    it cannot be served. `time_s` is the wall clock's, for people; `number` is the order."""

    number: int
    time_s: float
    name: str
    version: int | None
    state: str
    reason: str = ""


class EventLog:
    """Threads: any. A subscriber is called on the thread of whoever changed something: it must
    return at once, and may not change anything itself."""

    def __init__(self, limit: int = EVENTS_MAX) -> None:
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=limit)
        self._subscribers: tuple[Callable[[Event], None], ...] = ()
        self._last = 0

    @property
    def last(self) -> int:
        """The number of the newest; 0 before the first."""
        return self._last

    def add(self, name: str, version: int | None, state: str, reason: str = "") -> None:
        with self._lock:
            self._last += 1
            event = Event(self._last, time.time(), name, version, state, reason)
            self._events.append(event)
            subscribers = self._subscribers
        for subscriber in subscribers:
            subscriber(event)

    def after(self, number: int) -> tuple[list[Event], bool]:
        """Those that came later, and whether some of them are forgotten already."""
        with self._lock:
            found = [event for event in self._events if event.number > number]
            return found, number < self._last - len(found)

    def subscribe(self, subscriber: Callable[[Event], None]) -> Callable[[], None]:
        """Have every event from now on; what this returns ends that."""
        with self._lock:
            self._subscribers = (*self._subscribers, subscriber)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = tuple(s for s in self._subscribers if s is not subscriber)

        return unsubscribe
