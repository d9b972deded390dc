"""What `fastserve run` can be told: defaults < TOML file < FASTSERVE_* variables < command line.

The options are the table in settings.py. Every queue, buffer and count of the server has its limit
here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fastserve.config.completion import ModelDefaults
from fastserve.config.settings import ALL_MODELS, BY_KEY, SHM_AUTO, SHM_OFF, Setting
from fastserve.config.spelling import did_you_mean, shorten
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
# Where an option's value comes from: its field -> the value, and what to call it in a message.
Said = dict[str, tuple[Any, str]]


@dataclass(frozen=True)
class Options:
    """The completed options of a server."""

    paths: tuple[str, ...] = ()
    name: str = ""
    model_control: str = "none"
    load_models: tuple[str, ...] = ()
    poll_interval_ns: int = 15 * 10**9
    transition: str = "availability"
    state_file: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = None
    metrics_port: int | None = None
    triton_ports: bool = False
    unix_socket: str = ""
    reuse_port: bool = False
    loops: int = 1
    loop_kind: str = "process" if _HAS_GIL else "thread"
    strict_readiness: bool = False
    debug_endpoint: str = "loopback"
    cors_origins: tuple[str, ...] = ()
    shared_memory: str = "local"
    shared_regions_max: int = 1024
    shm_socket: str = SHM_AUTO
    shm_clients_max: int = 64
    shm_bytes_max: int = 1 << 30  # Of each client.
    shm_spin_ns: int = 50_000
    max_batch_size: int = 32
    max_queue_delay_ns: int = 0
    instance_count: int = 1
    intra_op_threads: int = 1
    queue_depth: int = 1024
    caller_runs: str = "auto"
    load_priority: str = "low"
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
    # Requests at a time on one connection over HTTP/2; gRPC's own servers set no limit.
    streams_per_connection_max: int = 256
    keepalive_ns: int = 30 * 10**9
    connection_age_ns: int = 0
    # Kubernetes sends SIGKILL 30 s after SIGTERM.
    drain_timeout_ns: int = 30 * 10**9
    drain_grace_ns: int = 10**9
    access_log: bool = False
    log_format: str = "text"
    log_level: str = "info"
    trace_file: str = ""
    trace_level: str = "off"
    trace_rate: int = 1000
    # A client may turn tracing on and leave: the disk must not fill.
    trace_bytes_max: int = 1 << 30

    @property
    def model_defaults(self) -> ModelDefaults:
        return ModelDefaults(**{f.name: getattr(self, f.name) for f in fields(ModelDefaults)})

    @property
    def has_processes(self) -> bool:
        """Whether the models are in processes of their own, one for each loop."""
        return self.loops > 1 and self.loop_kind == "process"

    @property
    def serves_shm(self) -> bool:
        """Whether there may be clients over shared memory."""
        is_on = self.shm_socket != SHM_OFF and self.shared_memory != "off"
        return is_on and not self.has_processes

    @property
    def more_ports(self) -> list[int]:
        """Those beside `port`; whatever they are called, each speaks all that is spoken here."""
        return [port for port in (self.grpc_port, self.metrics_port) if port is not None]

    def wants_at_start(self, name: str) -> bool:
        """Whether the model of that name is loaded at the start."""
        if self.model_control != "explicit":
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
    if options.triton_ports:
        options = _with_triton_ports(options, said)
    ports = [options.port, *options.more_ports]
    if len({port for port in ports if port != 0}) < len([port for port in ports if port != 0]):
        raise invalid(f"ports {', '.join(map(str, ports))}: each of them must be another one")
    if options.more_ports and options.reuse_port:
        raise invalid("--reuse-port shares one port: leave out --grpc-port and --metrics-port")
    _check_shm_socket(options, said)
    if options.trace_level != "off" and not options.trace_file:
        raise invalid(f"{said['trace_level'][1]} needs --trace-file: where to")
    if options.load_models and options.model_control != "explicit":
        where = said["load_models"][1]
        raise invalid(f"{where} needs --model-control explicit; without it every model is loaded")
    if options.state_file and options.model_control == "none":
        where = said["state_file"][1]
        raise invalid(f"{where} needs --model-control poll or explicit: else nothing can change")
    if "poll_interval_ns" in said and options.model_control != "poll":
        where = said["poll_interval_ns"][1]
        warnings.append(f"{where} has no effect without --model-control poll")
    return options, warnings


def _check_shm_socket(options: Options, said: Said) -> None:
    """Whether an address that was given can be had; auto is turned off where it cannot."""
    if options.shm_socket in (SHM_AUTO, SHM_OFF):
        return
    where = said["shm_socket"][1]
    if options.shared_memory == "off":
        raise invalid(
            f"{where} is {options.shm_socket}, and {said['shared_memory'][1]} is off: turn it on,"
            " or --shm-socket off as well"
        )
    if options.has_processes:
        raise invalid(
            f"{where} is {options.shm_socket}, and with --loops {options.loops} the models are in"
            " other processes: choose --loop-kind thread, --loops 1 or --shm-socket off"
        )


def _with_triton_ports(options: Options, said: Said) -> Options:
    """8000, 8001 and 8002, but for those that were said."""
    return replace(
        options,
        port=options.port if "port" in said else 8000,
        grpc_port=options.grpc_port if "grpc_port" in said else 8001,
        metrics_port=options.metrics_port if "metrics_port" in said else 8002,
    )


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
