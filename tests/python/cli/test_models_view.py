"""What people see of an index and of events."""

import time

from fastserve.cli.models_view import line, table


def test_an_index_is_a_table():
    entries: list[dict[str, object]] = [
        {"name": "digits", "version": "2", "state": "UNAVAILABLE", "reason": "no model"},
        {"name": "digits", "version": "3", "state": "READY", "labels": ["a", "b"], "default": True},
        {"name": "x"},
    ]
    assert table(entries) == (
        "MODEL   VERSION  STATE        LABELS  REASON\n"
        "digits  2        UNAVAILABLE  -       no model\n"
        "digits  3 *      READY        a, b\n"
        "x       -        not loaded   -\n"
    )


def test_an_empty_index_says_so():
    assert table([]) == "no models\n"


def test_an_event_is_a_line():
    now = time.time()
    at = time.strftime("%H:%M:%S", time.localtime(now))
    event = {"time": now, "name": "m", "version": "3", "state": "READY", "reason": ""}
    assert line(event) == f"{at} m version 3 READY"
    event |= {"version": None, "state": "FAILED", "reason": "why"}
    assert line(event) == f"{at} m FAILED: why"
