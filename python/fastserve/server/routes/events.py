"""GET /v2/repository/events: what has changed, as soon as something has.

?after=7&timeout=25    the events after number 7; if there are none yet, the first to come, or
                       none when 25 seconds have passed
                       without `after`: only the number of the last one, to begin with
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import parse_qs

from fastserve.control.events import Event, EventLog
from fastserve.control.state import State
from fastserve.errors import Error, invalid
from fastserve.server.routes.responses import Respond, error_response, json_response

TIMEOUT_S, TIMEOUT_S_MAX = 25.0, 60.0
WAITING_MAX = 100
_NUMBER_DIGITS_MAX = 15


class EventRoutes:
    """Threads: the loop's."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._waiting: set[asyncio.Task[None]] = set()
        self._has_ended = asyncio.Event()

    def render(self, query: str, respond: Respond) -> None:
        """Answer now or later. Who asks for more than may wait is told to come back."""
        try:
            after, timeout_s = _parse(query)
        except Error as error:
            respond(error_response(error.http_status, error.message))
            return
        if after is None:
            respond(json_response(200, {"events": [], "last": self._events.last}))
        elif len(self._waiting) >= WAITING_MAX:
            respond(error_response(429, f"{WAITING_MAX} clients wait for events already"))
        else:
            task = asyncio.get_running_loop().create_task(self._wait(after, timeout_s, respond))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    def end_waiting(self) -> None:
        self._has_ended.set()

    async def _wait(self, after: int, timeout_s: float, respond: Respond) -> None:
        loop = asyncio.get_running_loop()
        happened = asyncio.Event()
        end = loop.create_task(self._has_ended.wait())

        def on_event(_: Event) -> None:
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                loop.call_soon_threadsafe(happened.set)

        unsubscribe = self._events.subscribe(on_event)
        wait = loop.create_task(happened.wait())
        try:
            # A number from before a restart is none that was given here.
            if after <= self._events.last and not self._events.after(after)[0]:
                await asyncio.wait(
                    (wait, end), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            unsubscribe()
            wait.cancel()
            end.cancel()
        respond(json_response(200, self._since(after)))

    def _since(self, after: int) -> dict[str, Any]:
        is_ours = after <= self._events.last
        events, is_missed = self._events.after(after if is_ours else 0)
        return {
            "events": [_shown(event) for event in events],
            "last": events[-1].number if events else self._events.last,
            **({"missed": True} if is_missed or not is_ours else {}),
        }


def _shown(event: Event) -> dict[str, Any]:
    return {
        "id": event.number,
        "time": event.time_s,
        "name": event.name,
        "version": None if event.version is None else str(event.version),
        "state": "UNAVAILABLE" if event.state == State.RETIRED else event.state,
        "reason": "unloaded" if event.state == State.RETIRED else event.reason,
    }


def _parse(query: str) -> tuple[int | None, float]:
    """Errors: INVALID_ARGUMENT."""
    try:
        given = parse_qs(query, max_num_fields=10)
        after, timeout = given.get("after", [""])[-1], given.get("timeout", ["25"])[-1]
        is_number = after.isascii() and after.isdigit() and len(after) <= _NUMBER_DIGITS_MAX
        if after and not is_number:
            raise ValueError
        timeout_s = float(timeout)
        if not 0 <= timeout_s <= TIMEOUT_S_MAX:
            raise ValueError
    except ValueError:
        raise invalid(
            f"expected ?after=NUMBER&timeout=SECONDS, at most {TIMEOUT_S_MAX:.0f} seconds"
        ) from None
    return (int(after) if after else None), timeout_s
