"""How logs look: one line each, as text or as JSON, on stderr.

A record may carry `fields`, a mapping with the same facts as its message: JSON lines hold them by
name. Nothing here runs in the data plane; access records arrive in bundles.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

LOGGER = logging.getLogger("fastserve")
INFO = logging.INFO


_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31"}


@dataclass(frozen=True)
class LogSettings:
    """What is logged and how, while the server runs. A `verbose_level` above 0 shows what is for
    debugging; `has_iso_times` is about text alone, JSON always has them."""

    info: bool = True
    warning: bool = True
    error: bool = True
    verbose_level: int = 0
    has_iso_times: bool = False

    def shows(self, level: int) -> bool:
        if level >= logging.ERROR:
            return self.error
        if level >= logging.WARNING:
            return self.warning
        return self.info if level >= logging.INFO else self.verbose_level > 0


class TextFormatter(logging.Formatter):
    def __init__(self, *, colours: bool, has_iso_times: bool = False) -> None:
        super().__init__()
        self._colours = colours
        self.has_iso_times = has_iso_times

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone()
        level = f"{record.levelname.lower():<7}"
        if self._colours and record.levelname in _COLOURS:
            level = paint(level, _COLOURS[record.levelname])
        shown = f"{time:%H:%M:%S}.{int(record.msecs):03d}"
        if self.has_iso_times:
            shown = time.isoformat(timespec="milliseconds")
        line = f"{shown} {level} {printable(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def printable(text: str) -> str:
    """One line without control characters: a client chose some of it, and must not write logs."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def has_colours(stream: TextIO) -> bool:
    """Whether people look at it, and have not asked for plain text (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"


class _State:
    """What is in effect: a logger is the process's."""

    settings = LogSettings()
    is_json = False


def _is_shown(record: logging.LogRecord) -> bool:
    """Of any logger. Whoever asked for an access log wants to see it, whatever the level."""
    is_access = getattr(record, "fields", {}).get("event") == "access"
    return is_access or _State.settings.shows(record.levelno)


def configure(log_format: str, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if log_format == "json" else TextFormatter(colours=has_colours(sys.stderr))
    )
    handler.addFilter(_is_shown)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    _State.is_json = log_format == "json"
    lowest: int = getattr(logging, level.upper())
    apply(
        LogSettings(
            info=lowest <= logging.INFO,
            warning=lowest <= logging.WARNING,
            verbose_level=int(lowest <= logging.DEBUG),
            has_iso_times=_State.is_json,
        )
    )


def settings() -> LogSettings:
    return _State.settings


def is_json() -> bool:
    return _State.is_json


def apply(settings: LogSettings) -> None:
    """From now on, in this process; configure() comes first."""
    _State.settings = settings
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
    LOGGER.setLevel(next((level for level in levels if settings.shows(level)), logging.CRITICAL))
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, TextFormatter):
            handler.formatter.has_iso_times = settings.has_iso_times


def shows_info() -> bool:
    return LOGGER.isEnabledFor(logging.INFO) and _State.settings.info


def info(message: str, fields: Mapping[str, Any] | None = None) -> None:
    LOGGER.info(message, extra={"fields": fields or {}})


def warning(message: str, fields: Mapping[str, Any] | None = None) -> None:
    LOGGER.warning(message, extra={"fields": fields or {}})


def error(message: str, fields: Mapping[str, Any] | None = None) -> None:
    LOGGER.error(message, extra={"fields": fields or {}})
