"""What `fastserve run` can be told: defaults < TOML file < FASTSERVE_* variables < command line.

One table, SETTINGS, is the truth: the command line, the environment, the file and their messages
are all made from it. Every queue, buffer and count of the server has its limit here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fastserve.config.completion import ModelDefaults
from fastserve.config.model_config import (
    BATCH_ROWS_MAX,
    INSTANCES_MAX,
    QUEUE_DELAY_NS_MAX,
    THREADS_MAX,
)
from fastserve.config.spelling import did_you_mean, shorten
from fastserve.config.units import (
    COUNT_MAX,
    format_duration_ns,
    parse_bytes,
    parse_duration_ns,
    parse_integer,
)
from fastserve.config.warm_up import SIZES
from fastserve.errors import Error, invalid, one_line

ENVIRONMENT_PREFIX = "FASTSERVE_"
# What Kubernetes writes into every container for a Service called "fastserve" or "fastserve-...".
_SERVICE_LINK = re.compile(
    r"FASTSERVE_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)=.*"
    r"|FASTSERVE_(\w+_)?PORT=(tcp|udp|sctp)://.*",
    re.DOTALL,
)
# Under the GIL threads would take turns at parsing; without it they share one engine.
_HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
# As many listening sockets as one message between processes can carry, and room to spare.
LOOPS_MAX = 128
# Where an option's value comes from: its field -> the value, and what to call it in a message.
Said = dict[str, tuple[Any, str]]


@dataclass(frozen=True)
class Options:
    """The completed options of a server."""

    paths: tuple[str, ...] = ()
    name: str = ""
    model_control: str = "none"
    load_models: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    unix_socket: str = ""
    reuse_port: bool = False
    loops: int = 1
    loop_kind: str = "process" if _HAS_GIL else "thread"
    strict_readiness: bool = False
    debug_endpoint: str = "loopback"
    max_batch_size: int = 32
    max_queue_delay_ns: int = 0
    instance_count: int = 1
    intra_op_threads: int = 1
    queue_depth: int = 1024
    caller_runs: str = "auto"
    warm_up_sizes: str = "powers"
    # 64 MiB is Triton's limit; above it, clients should use shared memory.
    body_bytes_max: int = 64 << 20
    in_flight_bytes_max: int = 1 << 30
    connections_max: int = 10_000
    # 0: no limit. Behind a proxy all clients are one.
    connections_per_client_max: int = 0
    head_timeout_ns: int = 30 * 10**9
    body_timeout_ns: int = 60 * 10**9
    idle_timeout_ns: int = 120 * 10**9
    # Kubernetes sends SIGKILL 30 s after SIGTERM.
    drain_timeout_ns: int = 30 * 10**9
    drain_grace_ns: int = 10**9
    access_log: bool = False
    log_format: str = "text"
    log_level: str = "info"

    @property
    def model_defaults(self) -> ModelDefaults:
        return ModelDefaults(**{f.name: getattr(self, f.name) for f in fields(ModelDefaults)})

    def wants_at_start(self, name: str) -> bool:
        """Whether the model of that name is loaded at the start."""
        if self.model_control == "none":
            return True
        return name in self.load_models or ALL_MODELS in self.load_models

    def of_one_loop(self) -> Options:
        """What each of the loops is told: the limits of the server are shared out, rounded up.

        A share of the bytes in flight holds at least the largest body, or no loop could take it.
        """
        in_flight = -(-self.in_flight_bytes_max // self.loops)
        return replace(
            self,
            connections_max=-(-self.connections_max // self.loops),
            in_flight_bytes_max=max(in_flight, self.body_bytes_max),
        )


@dataclass(frozen=True)
class Setting:
    """One option: its name as a flag, the field it sets, and how its text is read."""

    flag: str
    field: str
    parse: Callable[[str], Any]
    group: str
    metavar: str
    help: str
    alias: str = ""  # What another server calls it.
    repeats: bool = False  # Given several times, or as a list, the values are joined.

    @property
    def key(self) -> str:
        return self.flag.replace("-", "_")


def _integer(minimum: int, maximum: int = COUNT_MAX) -> Callable[[str], int]:
    return lambda text: parse_integer(text, minimum, maximum)


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
    if folded in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"expected true or false, found '{text}'")


def _positive_bytes(text: str) -> int:
    count = parse_bytes(text)
    if count < 1:
        raise ValueError(f"expected at least 1 byte, found '{text}'")
    return count


def _positive_duration_ns(text: str) -> int:
    duration_ns = parse_duration_ns(text)
    if duration_ns < 1:
        raise ValueError(f"expected more than 0, found '{text}'")
    return duration_ns


def _queue_delay_ns(text: str) -> int:
    duration_ns = parse_duration_ns(text)
    if duration_ns > QUEUE_DELAY_NS_MAX:
        limit = format_duration_ns(QUEUE_DELAY_NS_MAX)
        raise ValueError(f"expected at most {limit}, found '{text}' (a bare number is seconds)")
    return duration_ns


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError(f"expected names of models, with commas between them, found '{text}'")
    return names


_SERVER, _MODELS, _LIMITS, _LOGS = "where to listen", "how models run", "limits", "logs"
_WHAT = "what to serve"
ALL_MODELS = "*"
SETTINGS = (
    Setting(
        "model-control", "model_control", _choice("none", "explicit"), _WHAT, "none|explicit",
        "none: all models are loaded at the start. explicit: those of --load-model, and later what"
        " is asked for at /v2/repository/models/NAME/load and unload",
        alias="model-control-mode",
    ),
    Setting(
        "load-model", "load_models", _names, _WHAT, "NAME",
        "with --model-control explicit, load this model at the start; may be repeated, * is all",
        repeats=True,
    ),
    Setting("host", "host", str, _SERVER, "HOST", "address to listen on"),
    Setting("port", "port", _integer(0, 65535), _SERVER, "PORT",
            "0 takes any free one and says which"),
    Setting("unix-socket", "unix_socket", str, _SERVER, "PATH",
            "listen on this Unix socket as well"),
    Setting(
        "loops", "loops", _integer(1, LOOPS_MAX), _SERVER, "N",
        "event loops that share the port: more cores for parsing and for models that run on the"
        " loop. The server's limits are divided among them",
    ),
    Setting(
        "loop-kind", "loop_kind", _choice("process", "thread"), _SERVER, "process|thread",
        "process: each loop has its own engines and queues, batches what it receives itself, and"
        " takes the memory of the models once more. thread: all share one engine and its batches,"
        " which is no faster while Python has its GIL",
    ),
    Setting(
        "reuse-port", "reuse_port", _boolean, _SERVER, "",
        "share the port with another server of this user that was started so too: it takes over"
        " once its models are loaded, and then the first can be ended without a failed request",
    ),
    Setting(
        "strict-readiness", "strict_readiness", _boolean, _SERVER, "",
        "/v2/health/ready says 200 only when every model is ready",
    ),
    Setting(
        "debug-endpoint", "debug_endpoint", _choice("loopback", "on", "off"), _SERVER,
        "loopback|on|off",
        "who may see /debug, which names requests in flight and their clients",
    ),
    Setting(
        "max-batch", "max_batch_size", _integer(1, BATCH_ROWS_MAX), _MODELS, "ROWS",
        "largest batch of a model without a config; 1 turns batching off",
    ),
    Setting(
        "max-queue-delay", "max_queue_delay_ns", _queue_delay_ns, _MODELS, "TIME",
        "how long a request may wait for others to join it",
    ),
    Setting("instances", "instance_count", _integer(1, INSTANCES_MAX), _MODELS, "N",
            "instances of a model"),
    Setting("threads", "intra_op_threads", _integer(0, THREADS_MAX), _MODELS, "N",
            "threads of the engine within one run; 0 lets the engine choose"),
    Setting("caller-runs", "caller_runs", _choice("auto", "never"), _MODELS, "auto|never",
            "whether cheap runs may happen on the event loop's thread"),
    Setting("warm-up-sizes", "warm_up_sizes", _choice(*SIZES), _MODELS, "|".join(SIZES),
            "batch sizes at which zeros run before a model serves. powers: 1, 2, 4... for about a"
            " second; all: every one, however long it takes"),
    Setting("queue-depth", "queue_depth", _integer(1), _LIMITS, "N",
            "requests that may wait for one model; more are refused with 429"),
    Setting("max-body", "body_bytes_max", _positive_bytes, _LIMITS, "SIZE", "largest request body"),
    Setting("max-in-flight", "in_flight_bytes_max", _positive_bytes, _LIMITS, "SIZE",
            "bytes of all request bodies that the whole server holds at once"),
    Setting("max-connections", "connections_max", _integer(1), _LIMITS, "N",
            "open connections of the whole server"),
    Setting("max-connections-per-client", "connections_per_client_max", _integer(0), _LIMITS, "N",
            "open connections of one address, in each loop; 0: as many as it likes"),
    Setting("head-timeout", "head_timeout_ns", _positive_duration_ns, _LIMITS, "TIME",
            "to receive a request's head"),
    Setting("body-timeout", "body_timeout_ns", _positive_duration_ns, _LIMITS, "TIME",
            "between two reads of a request's body"),
    Setting("idle-timeout", "idle_timeout_ns", _positive_duration_ns, _LIMITS, "TIME",
            "before an idle connection is closed"),
    Setting("drain-timeout", "drain_timeout_ns", parse_duration_ns, _LIMITS, "TIME",
            "for requests in flight to finish at shutdown"),
    Setting("drain-grace", "drain_grace_ns", parse_duration_ns, _LIMITS, "TIME",
            "for idle connections to send one more request at shutdown"),
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
    said: Said = {}
    variable = ENVIRONMENT_PREFIX + "CONFIG"
    if toml_path:
        said.update(_from_toml(Path(toml_path), "--config "))
    elif environment.get(variable):
        said.update(_from_toml(Path(environment[variable]), f"{variable}="))
    said.update(_from_environment(environment, warnings))
    flag_of = {setting.field: f"--{setting.flag}" for setting in BY_KEY.values()}
    said.update({field: (value, flag_of.get(field, field)) for field, value in flags.items()})
    options = replace(Options(), **{field: value for field, (value, _) in said.items()})
    if options.in_flight_bytes_max < options.body_bytes_max:
        in_flight = said.get("in_flight_bytes_max", (0, "--max-in-flight"))[1]
        body = said.get("body_bytes_max", (0, "--max-body"))[1]
        raise invalid(
            f"{in_flight} is {options.in_flight_bytes_max} bytes, less than {body}, which is"
            f" {options.body_bytes_max}: no request of that size could ever enter"
        )
    if options.load_models and options.model_control != "explicit":
        where = said["load_models"][1]
        raise invalid(f"{where} needs --model-control explicit; without it every model is loaded")
    return options, warnings


def _from_environment(environment: Mapping[str, str], warnings: list[str]) -> Said:
    """A variable that is empty says nothing: charts and compose files often write such."""
    said: Said = {}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == ENVIRONMENT_PREFIX + "CONFIG":
            continue
        if not text or _SERVICE_LINK.fullmatch(f"{variable}={text}"):
            continue
        key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key == "paths":
            said["paths"] = (tuple(filter(None, text.split(":"))), variable)
            continue
        setting = BY_KEY.get(key)
        if setting is None:
            names = [ENVIRONMENT_PREFIX + name.upper() for name in (*BY_KEY, "paths")]
            guess = did_you_mean(variable, names)
            warnings.append(one_line(f"{variable} is not an option{guess}"))
            continue
        try:
            said[setting.field] = (setting.parse(text), variable)
        except ValueError as error:
            raise invalid(f"{variable}: {error}") from None
    return said


def _from_toml(path: Path, said_by: str) -> Said:
    """`said_by` is how the path was given: "--config " or the variable."""
    import tomllib  # Only for those who have such a file.

    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Error("NOT_FOUND", f"{said_by}{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise invalid(f"{said_by}{path}: not UTF-8 text") from None
    try:
        table = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # Also numbers and nesting beyond Python's limits.
        raise invalid(f"{path}: {error}") from None
    said: Said = {}
    for written, value in table.items():
        where = f"{path}:{_line_of(text, written)}: {shorten(written)}"
        key = written.replace("-", "_")
        if key != "paths" and key not in BY_KEY:
            guess = did_you_mean(written, (*BY_KEY, "paths"))
            raise invalid(f"{where}: no such option{guess}")
        field = "paths" if key == "paths" else BY_KEY[key].field
        if field in said:
            raise invalid(f"{where}: given twice, also as {said[field][1].rpartition(': ')[2]}")
        try:
            parsed = _paths(value, path) if key == "paths" else _parse(BY_KEY[key], value)
        except ValueError as error:
            raise invalid(f"{where}: {error}") from None
        said[field] = (parsed, where)
    return said


def _parse(setting: Setting, value: Any) -> Any:
    if setting.repeats and isinstance(value, list):
        return tuple(part for item in value for part in setting.parse(_text(item)))
    return setting.parse(_text(value))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    kind = type(value).__name__.replace("dict", "table")
    raise ValueError(f"expected one value, found a {kind}")


def _paths(value: Any, file: Path) -> tuple[str, ...]:
    """Paths of a file are relative to the file, so that it works from any directory."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError("expected a list of paths")
    return tuple(str(file.parent / item) for item in items)


def _line_of(text: str, key: str) -> int:
    match = re.search(rf"^\s*[\[\"']*{re.escape(key)}(?![\w-])", text, re.MULTILINE)
    return text.count("\n", 0, match.end()) + 1 if match else 1
