"""How logs look: one line each, as text or as JSON, on stderr.

A record may carry `fields`, a mapping with the same facts as its message: JSON lines hold them by
name. Nothing here runs in the data plane; access records arrive in bundles.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("fastserve")


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone()
        level = record.levelname.lower()
        line = f"{time:%H:%M:%S}.{int(record.msecs):03d} {level:<7} {record.getMessage()}"
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


def configure(log_format: str, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    LOGGER.setLevel(level.upper())


def info(message: str, fields: Mapping[str, Any] | None = None) -> None:
    LOGGER.info(message, extra={"fields": fields or {}})


def warning(message: str, fields: Mapping[str, Any] | None = None) -> None:
    LOGGER.warning(message, extra={"fields": fields or {}})


def error(message: str, fields: Mapping[str, Any] | None = None) -> None:
    LOGGER.error(message, extra={"fields": fields or {}})
