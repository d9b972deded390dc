"""What `fastserve run` can be told: defaults < TOML file < FASTSERVE_* variables < command line.

One table, SETTINGS, is the truth: the command line, the environment, the file and their messages
are all made from it. Every queue, buffer and count of the server has its limit here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fastserve.config.completion import ModelDefaults
from fastserve.config.spelling import did_you_mean
from fastserve.config.units import parse_bytes, parse_duration_ns
from fastserve.errors import Error, invalid

ENVIRONMENT_PREFIX = "FASTSERVE_"
# What Kubernetes writes into every container for a Service that is called "fastserve".
_SERVICE_LINK = re.compile(r"FASTSERVE_(SERVICE_|PORT_\d+_)")


@dataclass(frozen=True)
class Options:
    """The completed options of a server."""

    paths: tuple[str, ...] = ()
    name: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    unix_socket: str = ""
    strict_readiness: bool = False
    max_batch_size: int = 32
    max_queue_delay_ns: int = 0
    instance_count: int = 1
    intra_op_threads: int = 1
    queue_depth: int = 1024
    caller_runs: str = "auto"
    # 64 MiB is Triton's limit; above it, clients should use shared memory.
    body_bytes_max: int = 64 << 20
    in_flight_bytes_max: int = 1 << 30
    connections_max: int = 10_000
    head_timeout_ns: int = 30 * 10**9
    body_timeout_ns: int = 60 * 10**9
    idle_timeout_ns: int = 120 * 10**9
    # Kubernetes sends SIGKILL 30 s after SIGTERM.
    drain_timeout_ns: int = 30 * 10**9
    access_log: bool = False
    log_format: str = "text"
    log_level: str = "info"

    @property
    def model_defaults(self) -> ModelDefaults:
        return ModelDefaults(**{f.name: getattr(self, f.name) for f in fields(ModelDefaults)})


@dataclass(frozen=True)
class Setting:
    """One option: its name as a flag, the field it sets, and how its text is read."""

    flag: str
    field: str
    parse: Callable[[str], Any]
    group: str
    metavar: str
    help: str

    @property
    def key(self) -> str:
        return self.flag.replace("-", "_")


def _integer(minimum: int, maximum: int = 2**31 - 1) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if not minimum <= value <= maximum:
            if maximum == 2**31 - 1:
                raise ValueError(f"expected an integer of at least {minimum}, found '{text}'")
            raise ValueError(f"expected an integer from {minimum} to {maximum}, found '{text}'")
        return value

    return parse


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected {' or '.join(choices)}, found '{text}'")
        return text

    return parse


def _boolean(text: str) -> bool:
    folded = text.lower()
    if folded in ("1", "true", "yes", "on"):
        return True
    if folded in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(f"expected true or false, found '{text}'")


def _positive_bytes(text: str) -> int:
    count = parse_bytes(text)
    if count < 1:
        raise ValueError(f"expected at least 1 byte, found '{text}'")
    return count


_SERVER, _MODELS, _LIMITS, _LOGS = "where to listen", "how models run", "limits", "logs"
SETTINGS = (
    Setting("host", "host", str, _SERVER, "HOST", "address to listen on"),
    Setting("port", "port", _integer(0, 65535), _SERVER, "PORT", "0 takes any free one and says which"),
    Setting("unix-socket", "unix_socket", str, _SERVER, "PATH", "listen on this Unix socket as well"),
    Setting(
        "strict-readiness", "strict_readiness", _boolean, _SERVER, "",
        "/v2/health/ready says 200 only when every model is ready",
    ),
    Setting(
        "max-batch", "max_batch_size", _integer(1, 65536), _MODELS, "ROWS",
        "largest batch of a model without a config; 1 turns batching off",
    ),
    Setting(
        "max-queue-delay", "max_queue_delay_ns", parse_duration_ns, _MODELS, "TIME",
        "how long a request may wait for others to join it",
    ),
    Setting("instances", "instance_count", _integer(1, 1024), _MODELS, "N", "instances of a model"),
    Setting("threads", "intra_op_threads", _integer(0, 1024), _MODELS, "N",
            "threads of the engine within one run; 0 lets the engine choose"),
    Setting("caller-runs", "caller_runs", _choice("auto", "never"), _MODELS, "auto|never",
            "whether cheap runs may happen on the event loop's thread"),
    Setting("queue-depth", "queue_depth", _integer(1), _LIMITS, "N",
            "requests that may wait for one model; more are refused with 429"),
    Setting("max-body", "body_bytes_max", _positive_bytes, _LIMITS, "SIZE", "largest request body"),
    Setting("max-in-flight", "in_flight_bytes_max", _positive_bytes, _LIMITS, "SIZE",
            "bytes of all request bodies held at once"),
    Setting("max-connections", "connections_max", _integer(1), _LIMITS, "N", "open connections"),
    Setting("head-timeout", "head_timeout_ns", parse_duration_ns, _LIMITS, "TIME",
            "to receive a request's head"),
    Setting("body-timeout", "body_timeout_ns", parse_duration_ns, _LIMITS, "TIME",
            "between two reads of a request's body"),
    Setting("idle-timeout", "idle_timeout_ns", parse_duration_ns, _LIMITS, "TIME",
            "before an idle connection is closed"),
    Setting("drain-timeout", "drain_timeout_ns", parse_duration_ns, _LIMITS, "TIME",
            "for requests in flight to finish at shutdown"),
    Setting("access-log", "access_log", _boolean, _LOGS, "", "one line a request, with its phases"),
    Setting("log-format", "log_format", _choice("text", "json"), _LOGS, "text|json", "of all logs"),
    Setting("log-level", "log_level", _choice("debug", "info", "warning", "error"), _LOGS, "LEVEL",
            "debug, info, warning or error"),
)  # fmt: skip
_NAME = Setting("name", "name", str, _MODELS, "NAME", "serve the one .onnx file under this name")
BY_KEY = {setting.key: setting for setting in (*SETTINGS, _NAME)}


def build(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    toml_path: str | None = None,
) -> tuple[Options, list[str]]:
    """The options, and warnings about what looks like a mistake.

    `flags` holds fields already parsed from the command line. Errors: INVALID_ARGUMENT naming the
    file or the variable, the option, what was expected and what was found.
    """
    warnings: list[str] = []
    values: dict[str, Any] = {}
    toml_path = toml_path or environment.get(ENVIRONMENT_PREFIX + "CONFIG")
    if toml_path:
        values.update(_from_toml(Path(toml_path)))
    values.update(_from_environment(environment, warnings))
    values.update(flags)
    options = replace(Options(), **values)
    _check(options)
    return options, warnings


def _check(options: Options) -> None:
    for field in ("head_timeout_ns", "body_timeout_ns", "idle_timeout_ns"):
        if getattr(options, field) == 0:
            raise invalid(f"--{field.removesuffix('_ns').replace('_', '-')}: expected more than 0")
    if options.in_flight_bytes_max < options.body_bytes_max:
        raise invalid(
            f"--max-in-flight is {options.in_flight_bytes_max} bytes, less than --max-body, which is"
            f" {options.body_bytes_max}: no request of that size could ever enter"
        )


def _from_environment(environment: Mapping[str, str], warnings: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == ENVIRONMENT_PREFIX + "CONFIG":
            continue
        if _SERVICE_LINK.match(variable) or text.startswith("tcp://"):
            continue
        key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key == "paths":
            values["paths"] = tuple(filter(None, text.split(":")))
            continue
        setting = BY_KEY.get(key)
        if setting is None:
            names = [ENVIRONMENT_PREFIX + name.upper() for name in BY_KEY]
            warnings.append(f"{variable} is not an option{did_you_mean(variable, names)}")
            continue
        try:
            values[setting.field] = setting.parse(text)
        except ValueError as error:
            raise invalid(f"{variable}: {error}") from None
    return values


def _from_toml(path: Path) -> dict[str, Any]:
    import tomllib  # Only for those who have such a file.

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Error("NOT_FOUND", f"--config {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise invalid(f"--config {path}: not UTF-8 text") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise invalid(f"{path}: {error}") from None
    values: dict[str, Any] = {}
    for written, value in table.items():
        where = f"{path}:{_line_of(text, written)}: {written}"
        key = written.replace("-", "_")
        if key == "paths":
            values["paths"] = _paths(value, path, where)
        elif key in BY_KEY:
            setting = BY_KEY[key]
            try:
                values[setting.field] = setting.parse(_text(value))
            except ValueError as error:
                raise invalid(f"{where}: {error}") from None
        else:
            guess = did_you_mean(written, (*BY_KEY, "paths"))
            raise invalid(f"{path}:{_line_of(text, written)}: unknown option '{written}'{guess}")
    return values


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError(f"expected one value, found {type(value).__name__}")


def _paths(value: Any, file: Path, where: str) -> tuple[str, ...]:
    """Paths of a file are relative to the file, so that it works from any directory."""
    items: Iterable[Any] = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise invalid(f"{where}: expected a list of paths")
    return tuple(str(file.parent / item) for item in items)


def _line_of(text: str, key: str) -> int:
    match = re.search(rf"^\s*[\[\"']*{re.escape(key)}\b", text, re.MULTILINE)
    return text.count("\n", 0, match.start()) + 1 if match else 1
