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
from datetime import UTC, datetime
from typing import Any, TextIO

LOGGER = logging.getLogger("fastserve")
INFO = logging.INFO


_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31"}


class TextFormatter(logging.Formatter):
    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone()
        level = f"{record.levelname.lower():<7}"
        if self._colours and record.levelname in _COLOURS:
            level = paint(level, _COLOURS[record.levelname])
        line = f"{time:%H:%M:%S}.{int(record.msecs):03d} {level} {printable(record.getMessage())}"
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


def configure(log_format: str, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if log_format == "json" else TextFormatter(colours=has_colours(sys.stderr))
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    LOGGER.setLevel(level.upper())


def shows_info() -> bool:
    return LOGGER.isEnabledFor(logging.INFO)


def info(message: str, fields: Mapping[str, Any] | None = None) -> None:
    LOGGER.info(message, extra={"fields": fields or {}})


def warning(message: str, fields: Mapping[str, Any] | None = None) -> None:
    LOGGER.warning(message, extra={"fields": fields or {}})


def error(message: str, fields: Mapping[str, Any] | None = None) -> None:
    LOGGER.error(message, extra={"fields": fields or {}})
