"""Triton's trace settings: those of the server, and what single models have of their own. Pure.

    trace_level     ["TIMESTAMPS"], or ["OFF"]
    trace_rate      "1000": one inference of so many
    trace_count     "-1": so many more, then no more; -1 without end
    log_frequency   "0": all go to trace_file; n: each n to a file of their own, trace_file.0, .1...
    trace_file      where to; whoever starts the server says it (--trace-file)
    trace_mode      "triton"

Values are text, as in Triton. A model's own value goes when it is set to null, and then follows the
server's; the server's null is what it was started with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from fastserve.config.settings import TRACE_RATE_MAX
from fastserve.config.spelling import did_you_mean
from fastserve.errors import Error, invalid
from fastserve.server.live.loop_settings import TraceRates

OFF, TIMESTAMPS = "OFF", "TIMESTAMPS"
COUNT_MAX = 2**53  # As a number of JSON survives it everywhere.
_KEYS = ("trace_level", "trace_rate", "trace_count", "log_frequency", "trace_file", "trace_mode")
_FIELDS = {
    "trace_level": "is_on",
    "trace_rate": "rate",
    "trace_count": "count",
    "log_frequency": "frequency",
}
_SHOWN_MAX = 100


@dataclass(frozen=True)
class Own:
    """What a model, or the server, has set; None: as the server, or as it was started."""

    is_on: bool | None = None
    rate: int | None = None
    count: int | None = None
    frequency: int | None = None

    @property
    def is_empty(self) -> bool:
        return all(getattr(self, field.name) is None for field in fields(self))


@dataclass(frozen=True)
class Effective:
    """What holds for a model. `count` -1: without end."""

    is_on: bool = False
    rate: int = 1000
    count: int = -1
    frequency: int = 0

    def with_own(self, own: Own) -> Effective:
        given = {field.name: getattr(own, field.name) for field in fields(own)}
        return replace(self, **{key: value for key, value in given.items() if value is not None})

    @property
    def sampled_rate(self) -> int:
        return self.rate if self.is_on and self.count != 0 else 0


class TraceSettings:
    """Threads: the loop's."""

    def __init__(self, path: str, start: Effective) -> None:
        self._path = path
        self._start = start
        self._server = Own()
        self._models: dict[str, Own] = {}

    def of(self, model: str) -> Effective:
        """Of a model, or of the server: ""."""
        server = self._start.with_own(self._server)
        return server.with_own(self._models.get(model, Own()))

    def has_own(self, model: str) -> bool:
        return model in self._models

    def rates(self) -> TraceRates:
        return TraceRates(
            self.of("").sampled_rate,
            {model: self.of(model).sampled_rate for model in self._models},
        )

    def shown(self, model: str) -> dict[str, Any]:
        settings = self.of(model)
        return {
            "trace_file": self._path,
            "trace_level": [TIMESTAMPS if settings.is_on else OFF],
            "trace_rate": str(settings.rate),
            "trace_count": str(settings.count),
            "log_frequency": str(settings.frequency),
            "trace_mode": "triton",
        }

    def change(self, model: str, changes: Mapping[str, Any]) -> None:
        """All the changes, or none. Errors: INVALID_ARGUMENT naming the key and what it takes."""
        given = {key: self._read(key, value) for key, value in changes.items()}
        known: dict[str, Any] = {
            _FIELDS[key]: value for key, value in given.items() if key in _FIELDS
        }
        own = replace(self._models.get(model, Own()) if model else self._server, **known)
        if not model:
            self._server = own
        elif own.is_empty:
            self._models.pop(model, None)
        else:
            self._models[model] = own

    def use(self, model: str) -> tuple[str, bool]:
        """Count one trace of that model. Whose settings it belongs to, and whether there was one
        left."""
        owner = model if model in self._models else ""
        counted = owner if owner and self._models[owner].count is not None else ""
        left = self.of(counted).count
        if left > 0:
            own = self._models[counted] if counted else self._server
            own = replace(own, count=left - 1)
            if counted:
                self._models[counted] = own
            else:
                self._server = own
        return owner, left != 0

    # -- Reading -----------------------------------------------------------------------------

    def _read(self, key: str, value: Any) -> bool | int | None:
        match key:
            case "trace_level":
                return None if value is None else self._level(value)
            case "trace_rate":
                return None if value is None else _number(key, value, 1, TRACE_RATE_MAX)
            case "trace_count":
                return None if value is None else _number(key, value, -1, COUNT_MAX)
            case "log_frequency":
                return None if value is None else _number(key, value, 0, COUNT_MAX)
            case "trace_file":
                # To name what it is changes nothing; a client must not choose what is written to.
                if _one(value) in (None, self._path):
                    return None
                raise invalid(
                    "trace_file cannot be changed while the server runs: it writes where"
                    " --trace-file says"
                )
            case "trace_mode":
                if _one(value) in (None, "triton"):
                    return None
                raise invalid(
                    'trace_mode: this server offers "triton", which writes --trace-file; it exports'
                    " nothing to OpenTelemetry yet"
                )
        name = key[:_SHOWN_MAX]
        raise invalid(
            f"there is no trace setting '{name}'"
            f"{did_you_mean(name, _KEYS) or '; there is ' + ', '.join(_KEYS)}"
        )

    def _level(self, value: Any) -> bool:
        levels = [value] if isinstance(value, str) else value
        if not isinstance(levels, Sequence) or not levels:
            raise _wrong("trace_level", '["TIMESTAMPS"] or ["OFF"]', value)
        for level in levels:
            if level == "TENSORS":
                raise invalid(
                    "trace_level: this server traces TIMESTAMPS; the TENSORS of requests it does"
                    " not record yet"
                )
            if level not in (OFF, TIMESTAMPS):
                raise _wrong("trace_level", '["TIMESTAMPS"] or ["OFF"]', value)
        is_on = TIMESTAMPS in levels
        if is_on and OFF in levels:
            raise invalid("trace_level: OFF stands alone; leave it out to trace TIMESTAMPS")
        if is_on and not self._path:
            raise Error(
                "FAILED_PRECONDITION",
                "trace_level: there is no trace file; start the server with --trace-file FILE",
            )
        return is_on


def _one(value: Any) -> Any:
    """Over gRPC each value is a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _number(key: str, value: Any, minimum: int, maximum: int) -> int:
    """Text, as Triton has it; a plain number is understood, too."""
    found = _one(value)
    if isinstance(found, str) and found.isascii() and len(found) <= 20:
        digits = found.removeprefix("-") if minimum < 0 else found
        if digits.isdigit():
            found = int(found)
    is_number = isinstance(found, int) and not isinstance(found, bool)
    if not is_number or not minimum <= found <= maximum:
        raise _wrong(key, f'a number from "{minimum}" to "{maximum}"', value)
    return int(found)


def _wrong(key: str, expected: str, found: Any) -> Error:
    return invalid(f"{key}: expected {expected}, found {repr(found)[:_SHOWN_MAX]}")
