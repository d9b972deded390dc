"""The command line, read from a table of flags.

Not argparse: it takes 12 ms of the start, explains a wrong option badly, and knows nothing of the
table of options that the environment and the TOML file are read from as well.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastserve.config.spelling import did_you_mean
from fastserve.errors import Error

_WIDTH = 88
_HELP_COLUMN = 28


class UsageError(Error):
    """The command line is wrong: nothing was done."""

    def __init__(self, message: str) -> None:
        super().__init__("INVALID_ARGUMENT", message)


@dataclass(frozen=True)
class Flag:
    """`--name METAVAR`, or a switch if it has no metavar: `--name`, `--no-name`, `--name=false`."""

    name: str
    metavar: str
    help: str
    parse: Callable[[str], Any] = str
    group: str = "options"
    default: str = ""
    repeats: bool = False
    alias: str = ""  # Another name for it, not shown.


@dataclass
class Arguments:
    """What was given: `values` by the flag's name; a list if it repeats."""

    operands: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    wants_help: bool = False


HELP = Flag("help", "", "this text", bool)


def read(
    given: Sequence[str], flags: Sequence[Flag], synonyms: Mapping[str, str] | None = None
) -> Arguments:
    """Options and operands in any order; after `--` everything is an operand.

    `synonyms` maps names that other servers have to a hint. Errors: UsageError, one line.
    """
    by_name = {flag.alias: flag for flag in flags if flag.alias}
    by_name |= {flag.name: flag for flag in flags}
    arguments = Arguments()
    rest = list(given)
    while rest:
        word = rest.pop(0)
        if word == "--":
            arguments.operands += rest
            break
        if word in ("-h", "--help"):
            arguments.wants_help = True
        elif word.startswith("-") and word != "-":
            _read_option(word, rest, by_name, synonyms or {}, arguments)
        else:
            arguments.operands.append(word)
    return arguments


def _read_option(
    word: str,
    rest: list[str],
    by_name: Mapping[str, Flag],
    synonyms: Mapping[str, str],
    arguments: Arguments,
) -> None:
    written, has_value, text = word.partition("=")
    name = written.removeprefix("--").replace("_", "-") if written.startswith("--") else ""
    is_negated = name not in by_name and name.startswith("no-")
    flag = by_name.get(name.removeprefix("no-") if is_negated else name)
    if flag is None or (is_negated and flag.metavar):
        raise UsageError(_unknown(written, by_name, synonyms))
    if not flag.metavar:
        text = text if has_value else "true"
        if is_negated:
            if has_value:
                raise UsageError(f"{written} takes no value, found '{text}'")
            text = "false"
    elif not has_value:
        if not rest or rest[0].startswith("--"):
            raise UsageError(f"{written} needs a value: {written} {flag.metavar}")
        text = rest.pop(0)
    try:
        value = flag.parse(text)
    except ValueError as error:
        raise UsageError(f"--{flag.name}: {error}") from None
    if flag.repeats:
        arguments.values.setdefault(flag.name, []).append(value)
    else:
        arguments.values[flag.name] = value


def _unknown(written: str, by_name: Mapping[str, Flag], synonyms: Mapping[str, str]) -> str:
    hint = synonyms.get(written.lstrip("-").replace("_", "-").lower(), "")
    if hint:
        return f"unknown option '{written}'; {hint}"
    guess = did_you_mean(written, (*(f"--{name}" for name in by_name), "--help"))
    return f"unknown option '{written}'{guess or '; --help lists the options'}"


def help_text(usage: str, about: str, flags: Sequence[Flag], closing: str = "") -> str:
    """The whole text of --help: flags by group, in the order of the table, defaults shown."""
    lines = [f"usage: {usage}", "", about.strip(), ""]
    for group in dict.fromkeys(flag.group for flag in flags):
        lines.append(f"{group}:")
        for flag in flags:
            if flag.group == group:
                lines += _describe(flag)
        lines.append("")
    if closing:
        lines += [closing.strip(), ""]
    return "\n".join(lines)


def _describe(flag: Flag) -> list[str]:
    head = f"  --{flag.name} {flag.metavar}".rstrip()
    words = flag.help + (f" (default: {flag.default})" if flag.default else "")
    body = textwrap.wrap(words, _WIDTH - _HELP_COLUMN, break_on_hyphens=False)
    if len(head) <= _HELP_COLUMN - 2:
        first = f"{head:<{_HELP_COLUMN}}{body[0]}"
        rest = body[1:]
    else:
        first, rest = head, body
    return [first, *(" " * _HELP_COLUMN + line for line in rest)]
