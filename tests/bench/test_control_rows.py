"""The pure parts of the rows about versions: what a wrong answer is, and how figures are made."""

import pytest

from bench.serve.rows.control.answers import (
    Answer,
    Retirement,
    failed,
    measured,
    percentile,
    read,
    wrong,
)
from bench.serve.rows.control.leak import slope
from bench.serve.rows.control.windows import Windows


def answer(sent_ns=0, version=1, value=None, status=200, server_us=10, latency_ns=20_000):
    return Answer(
        sent_ns, latency_ns, server_us, status, version, float(version if value is None else value)
    )


def test_an_answer_is_read_as_the_client_wrote_it(tmp_path):
    file = tmp_path / "answers.txt"
    file.write_text("12 3400 56 200 7 7\n13 99 0 503 -1 1.5e-09\n")
    assert read(file) == [Answer(12, 3400, 56, 200, 7, 7.0), Answer(13, 99, 0, 503, -1, 1.5e-09)]


def test_a_number_that_is_not_its_versions_is_wrong():
    assert wrong([answer(version=2), answer(version=2, value=1)], []) == 1


# What was sent before the swap was over may be answered by either.
def test_a_version_that_was_retired_before_the_request_was_sent_is_wrong():
    retirements = [Retirement(100, 2), Retirement(200, 3)]
    answers = [
        answer(99, 1), answer(99, 2), answer(100, 2), answer(100, 1),
        answer(250, 3), answer(250, 2),
    ]  # fmt: skip
    assert wrong(answers, retirements) == 2


def test_a_failure_is_counted_as_such_alone():
    answers = [answer(status=503, version=-1, value=3), answer()]
    assert (failed(answers), wrong(answers, [Retirement(0, 1)])) == (1, 0)


def test_what_came_before_the_client_measured_is_looked_at_and_not_measured():
    early = answer(latency_ns=-1, version=2, value=1)
    assert wrong([early], []) == 1
    assert measured([early, answer()]) == [answer()]


def test_percentiles_are_by_nearest_rank():
    values = [*range(1, 101)]
    assert [percentile(values, p) for p in (50, 99, 100, 1)] == [50, 99, 100, 1]
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_slope_is_that_of_the_best_line():
    assert slope([(0, 10), (1, 12), (2, 14)]) == pytest.approx(2)
    with pytest.raises(ValueError, match="two points"):
        slope([(0, 1)])


def test_windows_are_compared_in_pairs_and_pooled():
    seen = Windows(
        with_it=[[answer(server_us=20)] * 10, [answer(server_us=30)] * 10],
        without=[[answer(server_us=10)] * 10, [answer(server_us=30)] * 10],
    )
    p50, p99, *of_client = seen.ratios("x", 1.05, 1.3)
    assert (p50.value, p50.low, p50.high, p50.verdict) == (1.5, 1.0, 2.0, "FAIL")
    assert (p99.value, p99.verdict) == (1.0, "pass")
    assert [figure.target for figure in of_client] == [None, None]
