"""/v2/repository/events: what has changed, as soon as something has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from fastserve.control.events import EventLog
from fastserve.server.routes import events as room
from fastserve.server.routes.events import EventRoutes
from fastserve.server.routes.responses import Response


def ask(
    log: EventLog, query: str, *meanwhile: Callable[[EventRoutes], object], waits: int = 5
) -> Response:
    """The answer, with what happens while it waits."""

    async def run() -> Response:
        routes = EventRoutes(log)
        answers: list[Response] = []
        routes.render(query, answers.append)
        for _ in range(waits):
            await asyncio.sleep(0)
        if meanwhile:
            assert not answers, "it did not wait"
        for happen in meanwhile:
            happen(routes)
        while not answers:
            await asyncio.sleep(0)
        (answer,) = answers
        return answer

    return asyncio.run(run())


def body_of(answer: Response) -> dict[str, Any]:
    assert answer.status == 200
    body: dict[str, Any] = json.loads(answer.body)
    return body


@pytest.fixture
def log():
    made = EventLog(limit=3)
    made.add("m", 1, "READY")
    return made


def test_to_begin_with_the_last_number_is_told(log):
    assert body_of(ask(log, "")) == {"events": [], "last": 1}


def test_what_came_already_is_told_at_once(log):
    (event,) = body_of(ask(log, "after=0"))["events"]
    assert event.pop("time") > 0
    assert event == {"id": 1, "name": "m", "version": "1", "state": "READY", "reason": ""}


def test_what_comes_is_told_when_it_comes(log):
    answer = ask(log, "after=1", lambda _: log.add("n", None, "FAILED", "why"))
    body = body_of(answer)
    assert body["last"] == 2
    assert [(e["name"], e["version"], e["reason"]) for e in body["events"]] == [("n", None, "why")]


def test_a_retired_version_is_told_in_tritons_words(log):
    log.add("m", 1, "RETIRED")
    (event,) = body_of(ask(log, "after=1"))["events"]
    assert (event["state"], event["reason"]) == ("UNAVAILABLE", "unloaded")


@pytest.mark.parametrize("query", ["after=1&timeout=0", "after=1&timeout=0.01"])
def test_nothing_is_told_when_the_time_is_up(log, query):
    assert body_of(ask(log, query)) == {"events": [], "last": 1}


def test_who_was_away_for_long_hears_that_something_is_missing(log):
    for version in range(2, 7):
        log.add("m", version, "READY")
    body = body_of(ask(log, "after=1"))
    assert ([e["id"] for e in body["events"]], body["missed"]) == ([4, 5, 6], True)
    assert "missed" not in body_of(ask(log, "after=3"))


# Numbers begin anew with the server: one from before it is none of its own.
def test_who_comes_from_before_a_restart_begins_anew(log):
    body = body_of(ask(log, "after=700"))
    assert ([e["id"] for e in body["events"]], body["missed"]) == ([1], True)


def test_nobody_waits_for_a_server_that_ends(log):
    answer = ask(log, "after=1&timeout=60", EventRoutes.end_waiting)
    assert body_of(answer) == {"events": [], "last": 1}


def test_only_so_many_wait(log, monkeypatch):
    monkeypatch.setattr(room, "WAITING_MAX", 0)
    assert ask(log, "after=1").status == 429
    assert ask(log, "").status == 200


@pytest.mark.parametrize(
    "query",
    ["after=x", "after=-1", "after=" + "1" * 16, "timeout=61", "timeout=-1", "timeout=x",
     "timeout=nan", "after=1&" * 11],
)  # fmt: skip
def test_a_query_that_says_nothing_is_refused(log, query):
    answer = ask(log, query)
    assert answer.status == 400
    assert "expected ?after=NUMBER&timeout=SECONDS" in json.loads(answer.body)["error"]


def test_nobody_is_kept_who_does_not_wait_any_more(log):
    ask(log, "after=1&timeout=0")
    assert log._subscribers == ()
