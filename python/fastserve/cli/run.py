"""fastserve run: serve models until a signal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from fastserve.cli.arguments import HELP, Flag, help_text, read
from fastserve.config.options import Options, build
from fastserve.config.settings import ALL_MODELS, BY_KEY, SETTINGS, Setting
from fastserve.config.spelling import did_you_mean
from fastserve.config.units import format_bytes, format_duration_ns
from fastserve.control.loading.engine import onnxruntime_library
from fastserve.control.repository.model_repository import ModelRepository, ModelSource, discover
from fastserve.errors import Error, not_found
from fastserve.server import logs
from fastserve.server.sockets import listen

if TYPE_CHECKING:
    from fastserve.control.loading.loader import Loader

USAGE = "fastserve run PATH... [options]"
ABOUT = """\
Serve models over HTTP and gRPC, in the KServe v2 protocol that Triton's clients speak.

A PATH is an .onnx file, a model's directory or a repository laid out as for Triton:

  digits.onnx                         one file: the model "digits", version 1
  digits/[config.pbtxt]/1/model.onnx  one model's directory
  models/digits/...                   a repository of such directories

Without a config.pbtxt a model serves its own signature, and requests share a batch only if
a try at load shows that the model's rows are independent.
"""
CLOSING = """\
Options are taken from the command line, else from the environment (--max-batch is
FASTSERVE_MAX_BATCH), else from the TOML file (max_batch = 32), else the default holds.
SIGTERM and Ctrl-C let the requests in flight finish; a second one exits at once.

examples:
  fastserve run digits.onnx                     at http://127.0.0.1:8000/v2/models/digits
  fastserve run a.onnx b.onnx --port 9000       two models
  fastserve run v7-final.onnx --name digits     under another name
  fastserve run models/ --host 0.0.0.0          a repository, for other machines as well
  fastserve run models/ --max-queue-delay 2ms --access-log --log-format json
"""
_PATHS_HINT = "paths are given without an option: fastserve run PATH..."
# What people know from other servers.
SYNONYMS = {
    "p": "did you mean '--port'?",
    "bind": "did you mean '--host'?",
    "address": "did you mean '--host'?",
    "http-address": "did you mean '--host'?",
    "uds": "did you mean '--unix-socket'?",
    "workers": "--loops N for N front ends, --instances N for N copies of each model",
    "w": "--loops N for N front ends, --instances N for N copies of each model",
    "threads-per-worker": "--threads N for the engine, --loops N for the front end",
    "reuseport": "did you mean '--reuse-port'?",
    "limit-concurrency": "did you mean '--queue-depth' or '--max-connections'?",
    "timeout-keep-alive": "did you mean '--idle-timeout'?",
    "graceful-timeout": "did you mean '--drain-timeout'?",
    "timeout-graceful-shutdown": "did you mean '--drain-timeout'?",
    "model-name": "did you mean '--name'?",
    "model": _PATHS_HINT,
    "model-repository": _PATHS_HINT,
    "model-store": _PATHS_HINT,
    "http-max-input-size": "did you mean '--max-body'?",
    "exit-timeout-secs": "did you mean '--drain-timeout'?",
    "trace-config": "did you mean '--trace-file'?",
    "rest-api-enable-cors-support": "did you mean '--cors-origins'?",
    "cors-allowed-origin": "did you mean '--cors-origins'?",
    "log-verbose": "did you mean '--log-level debug'?",
    "verbose": "did you mean '--log-level debug'?",
    "v": "did you mean '--log-level debug' or 'fastserve --version'?",
}


def main(given: Sequence[str]) -> int:
    flags = all_flags()
    arguments = read(given, flags, SYNONYMS)
    if arguments.wants_help:
        print(help_text(USAGE, ABOUT, flags, CLOSING), end="")
        return 0
    toml_path = arguments.values.pop("config", None)
    chosen: dict[str, Any] = {}
    for name, value in arguments.values.items():
        setting = BY_KEY[name.replace("-", "_")]
        chosen[setting.field] = tuple(chain(*value)) if setting.repeats else value
    if arguments.operands:
        chosen["paths"] = tuple(arguments.operands)
    options, warnings = build(chosen, os.environ, toml_path)
    logs.configure(options.log_format, options.log_level)
    for warning in warnings:
        logs.warning(warning)
    return _serve(options)


def _serve(options: Options) -> int:
    sources = _sources(options)
    if options.model_control == "explicit":
        _check_names(options.load_models, sources)
    # Brings the core and the event loop: a wrong command need not wait for them.
    from fastserve.control.loading.loader import Loader
    from fastserve.server import app
    from fastserve.server.loops.hand_over import open_shared

    _require_engine(sources, Loader(options.model_defaults))
    hand_over = None
    if options.reuse_port:
        hand_over = open_shared(options.host, options.port, options.loops)
        sockets = list(hand_over.sockets)
    else:
        sockets = listen.bind_loops(options.host, options.port, options.loops)
    for port in options.more_ports:
        sockets += listen.bind_loops(options.host, port, options.loops)
    if options.unix_socket:
        sockets.append(listen.bind_unix(options.unix_socket))
    return app.run(options, sources, sockets, hand_over)


def _sources(options: Options) -> list[ModelSource]:
    """What lies under the paths now. Where models may come later, there need be none yet, and two
    of one name trouble nobody else.

    Errors: as discover().
    """
    if options.model_control == "none" or not options.paths:
        return discover(options.paths, options.name)
    roots = ModelRepository(options.paths, options.name).look()
    for root in roots:
        if root.problem is not None:
            raise root.problem
    return [source for root in roots for source in root.sources]


def _check_names(names: Sequence[str], sources: Sequence[ModelSource]) -> None:
    known = [source.name for source in sources]
    for name in names:
        if name not in (*known, ALL_MODELS):
            raise not_found(
                f"--load-model {name}: there is no such model{did_you_mean(name, known)}"
            )


def _require_engine(sources: Sequence[ModelSource], loader: Loader) -> None:
    """A missing engine is no model's fault: it is said once, before anything is served."""
    try:
        onnxruntime_library()
    except Error:
        if any(_wants_onnxruntime(source, loader) for source in sources):
            raise


def _wants_onnxruntime(source: ModelSource, loader: Loader) -> bool:
    try:
        return loader.read_config(source).backend == "onnxruntime"
    except Error:
        return False  # Its config is wrong: that will be said when it is loaded.


def all_flags() -> list[Flag]:
    """The flags of the table of settings, and those that only a command line has."""
    paths_and_name = [
        Flag(
            "name",
            "NAME",
            BY_KEY["name"].help,
            group="what to serve",
            default="the file's, without .onnx",
        ),
        Flag("config", "FILE", "read options from this TOML file", _existing, "what to serve"),
    ]
    shown = [_flag(setting) for setting in SETTINGS]
    return [*paths_and_name, *shown, HELP]


def _existing(text: str) -> str:
    if not text:
        raise ValueError("expected the path of a TOML file, found nothing")
    return text


def _flag(setting: Setting) -> Flag:
    value = getattr(Options(), setting.field)
    if isinstance(value, bool):
        default = ""  # A switch says by its being there what it does.
    elif setting.repeats or value is None:
        default = ""
    elif setting.field.endswith("_ns"):
        default = format_duration_ns(value).replace(" ", "") if value else "0"
    elif setting.field.endswith("bytes_max"):
        default = format_bytes(value)
    else:
        default = str(value)
    return Flag(
        setting.flag,
        setting.metavar,
        setting.help,
        setting.parse,
        setting.group,
        default,
        setting.repeats,
        setting.alias,
    )
