"""A person at a terminal sees that something takes a while; a file does not."""

import io
import sys
import threading

from fastserve.cli import progress
from fastserve.cli.progress import Waiting


class Terminal(io.StringIO):
    """Tells when something was written."""

    def __init__(self):
        super().__init__()
        self.was_written = threading.Event()

    def isatty(self):
        return True

    def write(self, text):
        self.was_written.set()
        return super().write(text)


def test_what_takes_long_is_shown_and_taken_away_again(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "_FIRST_S", 0.001)
    with Waiting("loading m"):
        assert terminal.was_written.wait(30)
    assert "loading m, 0 s" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_what_is_over_soon_is_not_shown(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Waiting("loading m"):
        pass
    assert terminal.getvalue() == ""


def test_nothing_is_shown_to_a_file(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    waiting = Waiting("loading m")
    with waiting:
        assert waiting._thread is None
    assert file.getvalue() == ""
