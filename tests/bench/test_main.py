"""The command line, and what a run does with a row that cannot be reported."""

import os
import sys
from pathlib import Path

import pytest

from bench.serve import __main__ as main
from bench.serve import machine
from bench.serve.installation import (
    Installation,
    InstallationError,
    newest_wheel,
    require_installed,
)
from bench.serve.report import Figure, Row
from bench.serve.rows.session import Session, WrongAnswerError
from tests.proc import needs_own_proc


@pytest.fixture
def session(tmp_path):
    here = Path("unused")
    return Session(tmp_path, Installation(here, None, None), here, here, tmp_path, 1, 1)


def test_all_rows_are_measured_unless_some_are_named():
    assert main.arguments([]).only.split(",") == list(main.ROWS)
    assert main.arguments([]).pairs == 9
    assert main.arguments(["--only", "mlp,start"]).only == "mlp,start"


@pytest.mark.parametrize("words", [["--only", "small,tiny"], ["--pairs", "0"], ["--seconds", "0"]])
def test_settings_that_mean_nothing_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        main.arguments(words)
    assert "error" in capsys.readouterr().err


@needs_own_proc
def test_a_wrong_answer_refuses_its_row_and_spares_the_others(session, monkeypatch):
    def wrong(session):
        raise WrongAnswerError("off\nby 3")

    monkeypatch.setitem(main.ROWS, "small", wrong)
    row = main.measured(session, "small", force=True)
    assert row.refused == "WrongAnswerError: off by 3"
    assert row.figures == []


# Figures were measured, but a stranger had most of the machine meanwhile.
@needs_own_proc
def test_a_row_measured_on_a_busy_machine_is_refused_unless_forced(session, monkeypatch):
    monkeypatch.setitem(main.ROWS, "small", lambda _: Row("small", [Figure("f", 1, "")]))
    monkeypatch.setattr(machine.LoadWatch, "shares", lambda _: (0.6, 0.0))
    row = main.measured(session, "small", force=False)
    assert "60% of the machine" in row.refused
    assert row.figures == []
    forced = main.measured(session, "small", force=True)
    assert [figure.name for figure in forced.figures] == ["f"]
    assert forced.notes == ["forced: other processes took 60% of the machine"]


def test_the_wheel_that_was_built_last_is_measured(tmp_path):
    with pytest.raises(InstallationError, match="make wheel"):
        newest_wheel(tmp_path)
    for age, name in enumerate(["fastserve-0.2-x.whl", "fastserve-0.1-x.whl", "other-9-x.whl"]):
        (tmp_path / name).write_bytes(b"")
        stamp_s = 1_000_000 + age
        os.utime(tmp_path / name, (stamp_s, stamp_s))
    assert newest_wheel(tmp_path).name == "fastserve-0.1-x.whl"


# An editable install runs from the source tree: fastserve is found, but not where it was installed.
def test_a_package_imported_from_elsewhere_is_not_measured(tmp_path):
    with pytest.raises(InstallationError, match=r"does not import|not imported from the installed"):
        require_installed(Path(sys.executable), tmp_path)
