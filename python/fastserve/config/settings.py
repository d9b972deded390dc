"""The table of options: each one's flag, the field of Options that it sets, and how it is read.

The command line, the environment, the TOML file, their messages and --help are all made from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastserve.config.model_config import (
    BATCH_ROWS_MAX,
    INSTANCES_MAX,
    QUEUE_DELAY_NS_MAX,
    THREADS_MAX,
)
from fastserve.config.units import (
    COUNT_MAX,
    format_bytes,
    format_duration_ns,
    parse_bytes,
    parse_duration_ns,
    parse_integer,
)
from fastserve.config.warm_up import SIZES

# As many listening sockets as one message between processes can carry, and room to spare.
LOOPS_MAX = 128
POLL_INTERVAL_NS_MIN = 100 * 10**6
ALL_MODELS = "*"  # Of --load-model.
TRACE_RATE_MAX = 2**32 - 1
# Each has a descriptor, and a place in the table that the core asks when one was taken away.
SHARED_REGIONS_MAX = 4096
# Each has a thread, and four descriptors.
SHM_CLIENTS_MAX = 1024
# The core's limits of a segment, and below them what holds no request of use.
SHM_BYTES_MIN, SHM_BYTES_MAX = 512 << 10, 64 << 30
SHM_SPIN_NS_MAX = 10 * 10**6
SHM_AUTO, SHM_OFF = "auto", "off"  # Of --shm-socket.
# What a Unix socket's address may have: 108 bytes, of which a path needs one for its end.
_SOCKET_NAME_BYTES_MAX = 107
# A host in lower case, a port that is not the scheme's own one: what an Origin field says.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


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


def _shared_memory(text: str) -> str:
    """Also as Triton spells it: --allow-client-shm=true."""
    folded = text.lower()
    if folded in ("true", "local"):
        return "local"
    if folded in ("false", "off"):
        return "off"
    raise ValueError(f"expected local or off, found '{text}'")


def _shm_socket(text: str) -> str:
    """auto, off, @NAME or a path. A slash is asked for, so that a slip is not taken for a file."""
    folded = text.lower()
    if folded in (SHM_AUTO, SHM_OFF):
        return folded
    is_address = (text.startswith("@") and len(text) > 1) or "/" in text
    if not is_address or not text.isprintable():
        raise ValueError(
            f"expected auto, off, @NAME or a path such as /run/fastserve.shm or ./shm, found"
            f" '{text}'"
        )
    size = len(text.encode())
    if size > _SOCKET_NAME_BYTES_MAX:
        raise ValueError(
            f"expected at most {_SOCKET_NAME_BYTES_MAX} bytes, found {size} in '{text}'"
        )
    return text


def _shm_bytes(text: str) -> int:
    count = parse_bytes(text)
    if not SHM_BYTES_MIN <= count <= SHM_BYTES_MAX:
        span = f"from {format_bytes(SHM_BYTES_MIN)} to {format_bytes(SHM_BYTES_MAX)}"
        raise ValueError(f"expected a size {span}, found '{text}'")
    return count


def _shm_spin_ns(text: str) -> int:
    duration_ns = parse_duration_ns(text)
    if duration_ns > SHM_SPIN_NS_MAX:
        limit = format_duration_ns(SHM_SPIN_NS_MAX)
        raise ValueError(f"expected at most {limit}, found '{text}' (a bare number is seconds)")
    return duration_ns


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


def _poll_interval_ns(text: str) -> int:
    duration_ns = parse_duration_ns(text)
    if duration_ns < POLL_INTERVAL_NS_MIN:
        raise ValueError(
            f"expected at least {format_duration_ns(POLL_INTERVAL_NS_MIN)}, found '{text}'"
        )
    return duration_ns


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError(f"expected names of models, with commas between them, found '{text}'")
    return names


def _origins(text: str) -> tuple[str, ...]:
    """As browsers write them: scheme, host and port, no path, nothing in upper case."""
    origins = tuple(origin.strip() for origin in text.split(","))
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"expected an origin like https://example.org or http://localhost:3000, or *,"
                f" found '{origin}'"
            )
    return origins


_SERVER, _MODELS, _LIMITS, _LOGS = "where to listen", "how models run", "limits", "logs"
_WHAT = "what to serve"
SETTINGS = (
    Setting(
        "model-control", "model_control", _choice("none", "poll", "explicit"), _WHAT,
        "none|poll|explicit",
        "none: all models are loaded at the start. poll: and what is put there, changed or taken"
        " away later is seen. explicit: those of --load-model are loaded, and later what is asked"
        " for with `fastserve models load`, or at /v2/repository/models/NAME/load",
        alias="model-control-mode",
    ),
    Setting(
        "poll-interval", "poll_interval_ns", _poll_interval_ns, _WHAT, "TIME",
        "with --model-control poll, between two looks at the repository",
        alias="repository-poll-secs",
    ),
    Setting(
        "load-model", "load_models", _names, _WHAT, "NAME",
        "with --model-control explicit, load this model at the start; may be repeated, * is all",
        repeats=True,
    ),
    Setting(
        "transition", "transition", _choice("availability", "resource"), _WHAT,
        "availability|resource",
        "availability: a new version is loaded before the old one goes. resource: the old one goes"
        " first, for models that do not fit into memory twice; meanwhile requests get 503",
    ),
    Setting(
        "state-file", "state_file", str, _WHAT, "FILE",
        "keep labels, roll-backs and what was loaded there, for the next start; with"
        " --model-control poll or explicit",
    ),
    Setting("host", "host", str, _SERVER, "HOST", "address to listen on"),
    Setting("port", "port", _integer(0, 65535), _SERVER, "PORT",
            "0 takes any free one and says which; HTTP and gRPC are told apart by the first bytes",
            alias="http-port"),
    Setting("grpc-port", "grpc_port", _integer(0, 65535), _SERVER, "PORT",
            "listen there as well, for clients that want gRPC on a port of its own"),
    Setting("metrics-port", "metrics_port", _integer(0, 65535), _SERVER, "PORT",
            "listen there as well, for scrapers that want /metrics on a port of its own"),
    Setting("triton-ports", "triton_ports", _boolean, _SERVER, "",
            "listen on 8000, 8001 and 8002 as Triton does"),
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
        "cors-origins", "cors_origins", _origins, _SERVER, "ORIGIN",
        "let scripts of pages of this origin (https://example.org) ask and read answers; may be"
        " repeated, * is all pages. Without it browsers keep answers from them",
        repeats=True,
    ),
    Setting(
        "shared-memory", "shared_memory", _shared_memory, _SERVER, "local|off",
        "local: programs on this machine may keep tensors in shared memory that they register. off:"
        " nobody may; choose it behind a proxy on this machine that hides itself",
        alias="allow-client-shm",
    ),
    Setting(
        "shm-socket", "shm_socket", _shm_socket, _SERVER, "auto|off|@NAME|PATH",
        "where programs on this machine connect that speak over shared memory. auto:"
        " @fastserve-PORT if it is free. @NAME is for this user and root, a file for those whom its"
        " permissions let in",
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
    Setting("load-priority", "load_priority", _choice("low", "normal"), _MODELS, "low|normal",
            "low: a large model is opened and warmed up with what the others leave of the"
            " processors, which is little on a machine that is busy without a pause"),
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
    Setting("max-streams", "streams_per_connection_max", _integer(1, 65_535), _LIMITS, "N",
            "requests at a time on one connection over HTTP/2"),
    Setting("http2-keepalive", "keepalive_ns", parse_duration_ns, _LIMITS, "TIME",
            "of silence, while requests are under way over HTTP/2, before the client is asked"
            " whether it is there; 0: never"),
    Setting("max-connection-age", "connection_age_ns", parse_duration_ns, _LIMITS, "TIME",
            "before a connection is ended, when its requests are answered, so that clients spread"
            " over new servers; 0: never"),
    Setting("max-shared-regions", "shared_regions_max", _integer(1, SHARED_REGIONS_MAX), _LIMITS,
            "N", "regions of shared memory that clients may register"),
    Setting("max-shm-clients", "shm_clients_max", _integer(1, SHM_CLIENTS_MAX), _LIMITS, "N",
            "clients at --shm-socket, each with a thread of the server's"),
    Setting("max-shm-bytes", "shm_bytes_max", _shm_bytes, _LIMITS, "SIZE",
            "largest segment of one of them; who wants more gets this"),
    Setting("shm-spin", "shm_spin_ns", _shm_spin_ns, _LIMITS, "TIME",
            "how long a thread of theirs looks for the next request before it sleeps, while that"
            " pays; 0: never"),
    Setting("drain-timeout", "drain_timeout_ns", parse_duration_ns, _LIMITS, "TIME",
            "for requests in flight to finish at shutdown"),
    Setting("drain-grace", "drain_grace_ns", parse_duration_ns, _LIMITS, "TIME",
            "for idle connections to send one more request at shutdown"),
    Setting("access-log", "access_log", _boolean, _LOGS, "", "one line a request, with its phases"),
    Setting("log-format", "log_format", _choice("text", "json"), _LOGS, "text|json", "of all logs"),
    Setting("log-level", "log_level", _choice("debug", "info", "warning", "error"), _LOGS, "LEVEL",
            "debug, info, warning or error; /v2/logging changes it while the server runs"),
    Setting("trace-file", "trace_file", str, _LOGS, "FILE",
            "where traces of inferences go, as JSON that Triton's tools read; /v2/trace/setting"
            " says which, while the server runs"),
    Setting("trace-level", "trace_level", _choice("off", "timestamps"), _LOGS, "off|timestamps",
            "what is traced at the start"),
    Setting("trace-rate", "trace_rate", _integer(1, TRACE_RATE_MAX), _LOGS, "N",
            "one inference of so many is traced, at the start"),
    Setting("max-trace-bytes", "trace_bytes_max", _positive_bytes, _LIMITS, "BYTES",
            "of traces that are written; after that no more are"),
)  # fmt: skip
_NAME = Setting("name", "name", str, _MODELS, "NAME", "serve the one .onnx file under this name")
BY_KEY = {setting.key: setting for setting in (*SETTINGS, _NAME)}
