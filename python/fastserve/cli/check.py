"""fastserve check: open models and complete their configs, as `run` would, without serving."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastserve.cli.arguments import HELP, Flag, help_text, read
from fastserve.config.options import BY_KEY, Options
from fastserve.config.units import format_duration_ns
from fastserve.control.repository import ModelSource, discover
from fastserve.errors import Error

if TYPE_CHECKING:
    from fastserve.config.completion import ServedConfig
    from fastserve.control.loader import Loader

USAGE = "fastserve check PATH..."
ABOUT = """\
Open every model under PATH, complete its config from the model itself, and say for each what
would be served, or what is wrong: the file, the line, the field. Nothing is served.

Every version is opened, not only those that the version_policy chooses.
Exit status: 0 if all are right, 1 if any is not.
"""
CLOSING = """\
examples:
  fastserve check digits.onnx
  fastserve check models/ && fastserve run models/
"""
FLAGS = (
    Flag(
        "max-batch",
        "ROWS",
        BY_KEY["max_batch"].help,
        BY_KEY["max_batch"].parse,
        default=str(Options().max_batch_size),
    ),
    HELP,
)


def main(given: Sequence[str]) -> int:
    arguments = read(given, FLAGS)
    if arguments.wants_help:
        print(help_text(USAGE, ABOUT, FLAGS, CLOSING), end="")
        return 0
    sources = discover(arguments.operands)
    from fastserve.control.loader import Loader  # Brings the core: --help need not wait for it.

    max_batch_size = arguments.values.get("max-batch", Options().max_batch_size)
    loader = Loader(Options(max_batch_size=max_batch_size).model_defaults)
    results = [_check(source, loader) for source in sources]
    bad = results.count(False)
    if len(results) > 1:
        print(f"{len(results)} models, {bad} wrong" if bad else f"{len(results)} models, all right")
    return 1 if bad else 0


def _check(source: ModelSource, loader: Loader) -> bool:
    """Print what is found; whether every version is right."""
    if source.problem:
        return _say_wrong(source.name, source.problem)
    try:
        config = loader.read_config(source)
    except Error as error:
        return _say_wrong(source.name, error.message)
    is_right = True
    warnings = dict.fromkeys(config.warnings)
    missing = sorted(set(config.version_policy.specific or ()) - set(source.versions))
    for version in missing:
        is_right = _say_wrong(
            f"{source.name} version {version}", "version_policy asks for it, and it is not there"
        )
    chosen = config.version_policy.choose(tuple(source.versions))
    for version in sorted(source.versions):
        shown_as = f"{source.name} version {version}"
        try:
            opened = loader.open(source, version, config)
        except Error as error:
            is_right = _say_wrong(shown_as, error.message)
            continue
        warnings.update(dict.fromkeys(opened.served.warnings))
        left_out = "" if version in chosen else "  (left out by its version_policy)"
        print(f"OK     {shown_as}  {opened.platform}{left_out}")
        _say_served(opened.served)
    for warning in warnings:
        print(f"  warning: {warning}")
    return is_right


def _say_wrong(shown_as: str, message: str) -> bool:
    print(f"WRONG  {shown_as}: {message}")
    return False


def _say_served(served: ServedConfig) -> None:
    for word, tensors in (("takes", served.inputs), ("gives", served.outputs)):
        for tensor in tensors:
            optional = " (optional)" if tensor.optional else ""
            print(f"  {word} {tensor.name} {tensor.datatype} {list(tensor.shape)}{optional}")
    delay = ""
    if served.joins_requests and served.max_queue_delay_ns:
        delay = f", waiting up to {format_duration_ns(served.max_queue_delay_ns)}"
    print(f"  batching {served.batching}{delay}")
    print(f"  instances {served.instance_count}, queue {served.queue_depth} requests")
