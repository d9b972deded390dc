"""The options of `fastserve run` as keyword arguments.

config/options.py is the truth about names, limits and defaults; the typed dictionaries here only
repeat the names, so that editors and mypy know them. A test compares the two.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from numbers import Integral, Real
from typing import Any, Literal, TypedDict

from fastserve.config.completion import ModelDefaults
from fastserve.config.options import Options, build
from fastserve.config.settings import BY_KEY, SETTINGS
from fastserve.config.spelling import did_you_mean
from fastserve.errors import Error, invalid

Duration = float | str  # Seconds, or text with a unit: "5ms".
Size = int | str  # Bytes, or text with a unit: "64MiB".


class ModelSettings(TypedDict, total=False):
    """How a model runs whose config.pbtxt does not say."""

    max_batch: int
    max_queue_delay: Duration
    instances: int
    threads: int
    caller_runs: Literal["auto", "never"]
    warm_up_sizes: Literal["powers", "all", "none"]
    load_priority: Literal["low", "normal"]
    queue_depth: int


class ServerSettings(ModelSettings, total=False):
    """What Server() takes: the defaults of its models, and those of its listeners."""

    host: str
    port: int
    unix_socket: str | os.PathLike[str]
    strict_readiness: bool
    cors_origins: str  # Commas between them.
    max_body: Size
    max_in_flight: Size
    max_connections: int
    max_connections_per_client: int
    head_timeout: Duration
    body_timeout: Duration
    idle_timeout: Duration
    max_streams: int
    http2_keepalive: Duration
    max_connection_age: Duration
    drain_timeout: Duration
    drain_grace: Duration
    access_log: bool


MODEL_FIELDS = frozenset(field.name for field in fields(ModelDefaults))
_OF_LOGS = ("log_format", "log_level")
# A listener has one event loop; a program that wants more calls listen() once more. Its models are
# loaded by the program.
_OF_PROCESSES = (
    "model_control", "load_model", "poll_interval", "transition", "state_file",
    "loops", "loop_kind", "reuse_port", "debug_endpoint", "grpc_port", "metrics_port",
    "triton_ports", "shared_memory", "max_shared_regions",
    "shm_socket", "max_shm_clients", "max_shm_bytes", "shm_spin",
    "trace_file", "trace_level", "trace_rate", "max_trace_bytes",
)  # fmt: skip
SERVER_KEYS = tuple(s.key for s in SETTINGS if s.key not in (*_OF_LOGS, *_OF_PROCESSES))
MODEL_KEYS = tuple(s.key for s in SETTINGS if s.field in MODEL_FIELDS)
# Names that the command line has, and that are said elsewhere here.
_ELSEWHERE = {
    "name": "say it to load()",
    "version": "say it to load()",
    "path": "give it to load()",
    "paths": "give each to load()",
    **dict.fromkeys(_OF_LOGS, "the program configures the logger 'fastserve' itself"),
    **dict.fromkeys(_OF_PROCESSES, "only `fastserve run` has it"),
}


def server_options(given: Mapping[str, Any]) -> Options:
    """Errors: TypeError for an unknown name, INVALID_ARGUMENT for a wrong value."""
    fields = _parse("fastserve.Server()", SERVER_KEYS, given)
    try:
        return build(fields, environment={})[0]
    except Error as error:
        raise in_python(error) from None


def model_defaults(options: Options, given: Mapping[str, Any]) -> ModelDefaults:
    """What load() was told, over what Server() was. Errors: as server_options."""
    return replace(options.model_defaults, **_parse("load()", MODEL_KEYS, given))


def listen_options(options: Options, given: Mapping[str, Any]) -> Options:
    """What listen() was told, over what Server() was; None says nothing. Errors: as above."""
    said = {key: value for key, value in given.items() if value is not None}
    return replace(options, **_parse("listen()", ("host", "port", "unix_socket"), said))


def in_python(error: Error) -> Error:
    """The same error about keyword arguments: --unix-socket becomes unix_socket."""
    words = re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda m: m[1].replace("-", "_"), error.message)
    return Error(error.code, words)


def _parse(callee: str, keys: tuple[str, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """Field -> value, read by the same functions as the command line's text."""
    parsed: dict[str, Any] = {}
    for key, value in given.items():
        if key not in keys:
            hint = f"; {_ELSEWHERE[key]}" if key in _ELSEWHERE else did_you_mean(key, keys)
            raise TypeError(f"{callee} has no option '{key}'{hint}")
        setting = BY_KEY[key]
        try:
            parsed[setting.field] = setting.parse(_text(value))
        except ValueError as error:
            raise invalid(f"{key}: {error}") from None
    return parsed


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):  # Also numpy's.
        return str(int(value))
    if isinstance(value, Real):
        # Never 1e-05; whole numbers without a point, so that 32.0 counts rows as 32 does.
        return f"{float(value):.12f}".rstrip("0").removesuffix(".")
    if isinstance(value, str | os.PathLike):
        return str(os.fspath(value))
    raise ValueError(f"expected one value, found a {type(value).__name__}")
