"""A loop that does not last is started again later each time."""

from fastserve.server.loops.backoff import Backoff


def test_the_first_restart_is_at_once_and_each_later_one_waits_twice_as_long():
    backoff = Backoff()
    waits_s = [backoff.after(1.0) for _ in range(10)]
    assert waits_s == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_minute_of_health_is_forgiven():
    backoff = Backoff()
    assert [backoff.after(1.0), backoff.after(1.0), backoff.after(60.0)] == [0.0, 0.1, 0.0]
    assert backoff.after(1.0) == 0.1
