"""Verdicts, the table and the result file."""

import json

import pytest

from bench.serve import report
from bench.serve.pairing import Spread
from bench.serve.report import Figure, Row


@pytest.mark.parametrize(
    ("value", "direction", "verdict"),
    [
        (0.60, ">=", "pass"),
        (0.59, ">=", "FAIL"),
        (0.60, "<=", "pass"),
        (0.61, "<=", "FAIL"),
    ],
)
def test_a_figure_is_judged_in_its_direction_and_its_target_is_enough(value, direction, verdict):
    assert Figure("f", value, "", 0.60, direction).verdict == verdict


def test_a_figure_without_a_target_is_not_judged():
    assert Figure("f", 1.0, "us").verdict == ""


def test_the_table_puts_the_target_beside_the_figure():
    figure = Figure.of("ratio", Spread(0.7, 0.6, 0.9), "", 0.6)
    line = report.table([Row("small", [figure])]).splitlines()[-1]
    assert line == "| small: ratio | 0.7 | 0.6 .. 0.9 | >= 0.6 | pass |"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1e-5, "1e-05"), (0.5949, "0.595"), (99.94, "99.9"), (124_000.4, "124,000")],
)
def test_numbers_are_short_but_not_rounded_away(value, text):
    assert report.number(value) == text


# The targets are compared before rounding: 0.5949 prints as 0.595, and 0.5999 as 0.6, a miss still.
def test_rounding_for_the_eye_does_not_change_the_verdict():
    figure = Figure("f", 0.59996, "", 0.6)
    assert report.number(figure.value) == "0.6"
    assert figure.verdict == "FAIL"


def test_the_result_holds_every_run_and_names_what_was_missed(tmp_path):
    rows = [Row("small", [Figure("bad", 1, "", 2), Figure("good", 3, "", 2)], [{"cpu_s": 1.5}])]
    content = report.document(
        rows, commit="c", utc="u", machine={"cores": 2}, installation={}, settings={"pairs": 9}
    )
    path = tmp_path / "deep" / "result.json"
    report.write(path, content)
    read = json.loads(path.read_text())
    assert read["missed"] == ["small: bad"]
    assert read["rows"][0]["runs"] == [{"cpu_s": 1.5}]
    assert [figure["verdict"] for figure in read["rows"][0]["figures"]] == ["FAIL", "pass"]
    assert read["machine"] == {"cores": 2}


# A refused row must not look like a row that met its targets.
def test_a_refused_row_gives_its_reason_and_counts_as_missed():
    rows = [Row.refusal("mlp", "WrongAnswerError: off by 3"), Row("small")]
    assert report.missed(rows) == ["mlp: refused"]
    assert "| mlp | | | | refused: WrongAnswerError: off by 3 |" in report.table(rows)
