"""The files that the rules read, and the C++ reading that several rules share."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
CPP_SUFFIXES = {".h", ".cc", ".cu"}
PYTHON_SUFFIXES = {".py", ".pyi"}


@dataclass(frozen=True)
class Violation:
    """A broken rule: where, and what to do instead."""

    path: PurePosixPath
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Source:
    """A file of the tree; `path` is relative to its root."""

    path: PurePosixPath
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @functools.cached_property
    def code(self) -> str:
        """C++ without comments and literals; every character kept its line."""
        return blank_out(self.text)


def at(path: str, text: str) -> Source:
    """A file that a rule's own test makes up."""
    return Source(PurePosixPath(path), text)


@functools.cache
def paths() -> tuple[PurePosixPath, ...]:
    """Every file that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = (PurePosixPath(name) for name in set(names.split("\0")) if name)
    return tuple(sorted(path for path in found if (ROOT / path).is_file()))


@functools.cache
def read(path: PurePosixPath) -> Source:
    return Source(path, (ROOT / path).read_text(encoding="utf-8", errors="replace"))


def sources(suffixes: set[str], *under: str) -> Iterator[Source]:
    """The files with these suffixes in these folders (everywhere if none is named)."""
    for path in paths():
        if path.suffix in suffixes and (not under or path.parts[0] in under):
            yield read(path)


# In this order: a comment may hold a quote, a raw string may hold anything.
LITERAL = re.compile(
    r"""//[^\n]*
      | /\*.*?\*/
      | R"(?P<mark>[^(\s"]*)\(.*?\)(?P=mark)"
      | "(?:\\.|[^"\\\n])*"
      | (?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'""",
    re.VERBOSE | re.DOTALL,
)


def blank_out(text: str) -> str:
    """The text with comments and literals replaced by spaces, line for line."""
    return LITERAL.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def report(violations: list[Violation]) -> str:
    return "\n" + "\n".join(str(violation) for violation in violations)
