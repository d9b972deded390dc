"""What changed, in order, and for a while."""

from fastserve.control.events import Event, EventLog


def test_events_are_numbered_and_kept():
    log = EventLog()
    assert (log.last, log.after(0)) == (0, ([], False))
    log.add("m", 1, "LOADING")
    log.add("m", None, "FAILED", "why")
    assert log.last == 2
    events, is_missed = log.after(1)
    assert [(e.number, e.name, e.version, e.state, e.reason) for e in events] == [
        (2, "m", None, "FAILED", "why")
    ]
    assert not is_missed


def test_old_ones_are_forgotten_and_that_is_known():
    log = EventLog(limit=2)
    for version in range(1, 5):
        log.add("m", version, "READY")
    events, is_missed = log.after(1)
    assert ([event.number for event in events], is_missed) == ([3, 4], True)
    assert log.after(2) == (events, False)


def test_subscribers_hear_of_each_until_they_leave():
    log = EventLog()
    heard: list[Event] = []
    leave = log.subscribe(heard.append)
    log.add("m", 1, "READY")
    leave()
    log.add("m", 2, "READY")
    assert [type(event) for event in heard] == [Event]
    assert heard[0].version == 1
