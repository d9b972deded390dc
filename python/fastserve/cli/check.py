"""fastserve check: open models and complete their configs, as `run` would, without serving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastserve.cli.arguments import HELP, Flag, help_text, read
from fastserve.config.options import Options
from fastserve.config.settings import BY_KEY
from fastserve.config.units import format_duration_ns
from fastserve.control.repository.model_repository import ModelSource, discover
from fastserve.errors import Error

if TYPE_CHECKING:
    from fastserve.config.completion import ServedConfig
    from fastserve.control.loading.estimate import Estimate
    from fastserve.control.loading.loader import Loader

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
    from fastserve.control.loading.loader import (
        Loader,
    )  # Brings the core: --help need not wait for it.

    max_batch_size = arguments.values.get("max-batch", Options().max_batch_size)
    loader = Loader(Options(max_batch_size=max_batch_size).model_defaults)
    results = [_check(source, loader) for source in sources]
    bad = results.count(False)
    if len(results) > 1:
        print(f"{len(results)} models, {bad} wrong" if bad else f"{len(results)} models, all right")
    return 1 if bad else 0


@dataclass(frozen=True)
class Result:
    """What was found out about one version, or about a model that has none."""

    shown_as: str
    problem: str = ""
    platform: str = ""
    served: ServedConfig | None = None
    estimate: Estimate | None = None
    is_chosen: bool = True  # By the version_policy.
    warnings: tuple[str, ...] = ()  # Of the model, then of the version.


def look(source: ModelSource, loader: Loader) -> Iterator[Result]:
    """Open every version of a model, also those that the version_policy leaves out."""
    if source.problem:
        yield Result(source.name, source.problem)
        return
    try:
        config = loader.read_config(source)
    except Error as error:
        yield Result(source.name, error.message)
        return
    missing = sorted(set(config.version_policy.specific or ()) - set(source.versions))
    for version in missing:
        yield Result(
            f"{source.name} version {version}", "version_policy asks for it, and it is not there"
        )
    chosen = config.version_policy.choose(tuple(source.versions))
    for version in sorted(source.versions):
        shown_as = f"{source.name} version {version}"
        try:
            estimate = loader.estimate(source, version, config)
            opened = loader.open(source, version, config)
        except Error as error:
            yield Result(shown_as, error.message, warnings=config.warnings)
            continue
        yield Result(
            shown_as,
            platform=opened.platform,
            served=opened.served,
            estimate=estimate,
            is_chosen=version in chosen,
            warnings=(*config.warnings, *opened.served.warnings),
        )


def _check(source: ModelSource, loader: Loader) -> bool:
    """Print what is found; whether every version is right."""
    is_right = True
    warnings: dict[str, None] = {}
    for result in look(source, loader):
        warnings.update(dict.fromkeys(result.warnings))
        if result.served is None:
            is_right = _say_wrong(result.shown_as, result.problem)
            continue
        left_out = "" if result.is_chosen else "  (left out by its version_policy)"
        print(f"OK     {result.shown_as}  {result.platform}{left_out}")
        _say_served(result.served)
        print(f"  needs {result.estimate}")
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
