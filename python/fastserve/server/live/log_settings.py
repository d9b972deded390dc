"""Triton's log settings: what is shown of logs.LogSettings, and how it is changed. Pure.

log_info, log_warning, log_error   whether lines of that severity are logged
log_verbose_level                  0, or more for what is logged with --log-level debug
log_format                         how text lines say when: "default", 13:45:07.123, or "ISO8601"
log_file                           "": logs go to stderr; whoever starts the server sends them on
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastserve.config.spelling import did_you_mean
from fastserve.errors import invalid
from fastserve.server.logs import LogSettings

_FLAGS = {"log_info": "info", "log_warning": "warning", "log_error": "error"}
_KEYS = ("log_file", *_FLAGS, "log_verbose_level", "log_format")
_FORMATS = ("default", "ISO8601")
_VERBOSE_LEVEL_MAX = 2**32 - 1
_SHOWN_MAX = 100


def shown(settings: LogSettings) -> dict[str, Any]:
    return {
        "log_file": "",
        **{key: getattr(settings, field) for key, field in _FLAGS.items()},
        "log_verbose_level": settings.verbose_level,
        "log_format": _FORMATS[settings.has_iso_times],
    }


def changed(settings: LogSettings, changes: Mapping[str, Any], *, is_json: bool) -> LogSettings:
    """The settings with all the changes. `is_json`: of lines that are JSON, not text.

    Errors: INVALID_ARGUMENT naming the key, what was expected and what was found.
    """
    for key, value in changes.items():
        if key in _FLAGS:
            if not isinstance(value, bool):
                raise _wrong(key, "true or false", value)
            settings = replace(settings, **{_FLAGS[key]: value})
        elif key == "log_verbose_level":
            is_number = isinstance(value, int) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= _VERBOSE_LEVEL_MAX:
                raise _wrong(key, "a number from 0", value)
            settings = replace(settings, verbose_level=value)
        elif key == "log_format":
            if not isinstance(value, str) or value not in _FORMATS:
                raise _wrong(key, '"default" or "ISO8601"', value)
            if is_json and value == "default":
                raise invalid(
                    "log_format: lines of --log-format json always say when in ISO 8601; start the"
                    " server with --log-format text for the other one"
                )
            settings = replace(settings, has_iso_times=value == "ISO8601")
        elif key == "log_file":
            raise invalid(
                "log_file cannot be changed while the server runs: it logs to stderr, which whoever"
                " starts it sends to a file"
            )
        else:
            name = key[:_SHOWN_MAX]
            raise invalid(
                f"there is no log setting '{name}'"
                f"{did_you_mean(name, _KEYS) or '; there is ' + ', '.join(_KEYS)}"
            )
    return settings


def _wrong(key: str, expected: str, found: Any) -> Exception:
    return invalid(f"{key}: expected {expected}, found {repr(found)[:_SHOWN_MAX]}")
