"""Lines of the log: one each, whatever a client puts into its request."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from fastserve.server import access_log, logs
from fastserve.server.logs import LogSettings

RECORD: dict[str, Any] = {
    "time_ns": 1_790_000_000_250_000_000,
    "peer": "127.0.0.1:5312",
    "method": "POST",
    "path": "/v2/models/digits/infer",
    "status": 200,
    "grpc_status": "",
    "model": "digits",
    "version": 1,
    "id": "",
    "bytes_in": 300,
    "bytes_out": 120,
    "batch_rows": 8,
    "receive_ns": 0,
    "queue_ns": 300_000,
    "stage_ns": 50_000,
    "run_ns": 700_000,
    "finish_ns": 30_000,
    "send_ns": 20_000,
    "total_ns": 1_200_000,
}


@pytest.fixture
def stderr(monkeypatch, capsys) -> Callable[[], str]:
    """What was written since the last call; afterwards the loggers are as they were."""
    for logger in (logging.getLogger(), logs.LOGGER):
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "level", logger.level)
    monkeypatch.setattr(logs._State, "settings", LogSettings())
    monkeypatch.setattr(logs._State, "is_json", False)
    return lambda: capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_an_access_line_tells_where_the_time_went():
    assert access_log.text(RECORD) == (
        "127.0.0.1:5312 POST /v2/models/digits/infer 200 1.2 ms"
        " (queue 300 us, stage 50 us, run 700 us, finish 30 us, send 20 us)"
        " digits/1 batch=8 in=300 out=120"
    )


def test_an_access_line_of_an_rpc_has_its_code():
    line = access_log.text({**RECORD, "grpc_status": "NOT_FOUND"})
    assert " /v2/models/digits/infer 200 NOT_FOUND 1.2 ms " in line


def test_an_access_line_has_the_requests_own_time(stderr):
    logs.configure("json", "info")
    access_log.write([RECORD])
    line = json.loads(stderr())
    assert line["time"] == "2026-09-21T14:13:20.250+00:00"
    assert line["event"] == "access"
    assert {key: line[key] for key in RECORD} == RECORD


# Who asked for an access log wants to see it.
def test_the_access_log_is_written_whatever_the_level(stderr):
    logs.configure("text", "error")
    logs.info("not this")
    access_log.write([RECORD])
    written = stderr()
    assert written.count("\n") == 1
    assert "POST" in written


# A path or an id with a line break must not look like a line of ours.
def test_a_client_cannot_write_lines_of_its_own(stderr):
    logs.configure("text", "info")
    forged = {**RECORD, "path": "/\n12:00:00.000 info all is well", "id": "\x1b[2J"}
    access_log.write([forged])
    written = stderr()
    assert written.count("\n") == 1
    assert "\x1b" not in written
    logs.configure("json", "info")
    access_log.write([forged])
    assert json.loads(stderr())["path"] == forged["path"]


def test_a_failure_is_logged_with_its_traceback(stderr):
    logs.configure("json", "info")
    try:
        raise ValueError("no")
    except ValueError:
        logs.LOGGER.exception("it failed")
    line = json.loads(stderr())
    assert line["level"] == "error"
    assert "ValueError: no" in line["traceback"]


def test_colours_are_for_terminals(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert logs.has_colours(Terminal())
    assert not logs.has_colours(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not logs.has_colours(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not logs.has_colours(Terminal())


def test_a_warning_is_coloured_on_a_terminal_alone():
    record = logs.LOGGER.makeRecord("fastserve", 30, "", 0, "careful", (), None)
    assert "\x1b[33mwarning" in logs.TextFormatter(colours=True).format(record)
    assert "\x1b" not in logs.TextFormatter(colours=False).format(record)


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", "debug info warning error"),
        ("info", "info warning error"),
        ("warning", "warning error"),
        ("error", "error"),
    ],
)
def test_a_level_shows_itself_and_what_is_worse(stderr, level, shown):
    logs.configure("text", level)
    for name in ("debug", "info", "warning", "error"):
        getattr(logs.LOGGER, name)("said")
    assert [line.split()[1] for line in stderr().splitlines()] == shown.split()


def test_each_severity_can_be_switched_while_it_runs(stderr):
    logs.configure("text", "info")
    logs.apply(LogSettings(info=False, warning=True, error=False, verbose_level=1))
    assert logs.settings().verbose_level == 1
    for name in ("debug", "info", "warning", "error"):
        getattr(logs.LOGGER, name)("said")
    logging.getLogger("asyncio").error("as everybody")
    assert [line.split()[1] for line in stderr().splitlines()] == ["debug", "warning"]
    logs.apply(LogSettings(info=False, warning=False, error=False))
    for name in ("debug", "info", "warning", "error"):
        getattr(logs.LOGGER, name)("said")
    assert stderr() == ""


def test_an_access_log_is_written_whatever_is_switched_off(stderr):
    logs.configure("text", "error")
    access_log.write([RECORD])
    assert "POST /v2/models/digits/infer" in stderr()


def test_text_says_when_in_full_if_asked(stderr):
    logs.configure("text", "info")
    logs.apply(LogSettings(has_iso_times=True))
    logs.info("said")
    when = stderr().split()[0]
    assert datetime.fromisoformat(when).tzinfo is not None
