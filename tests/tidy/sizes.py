"""How long things may be: a file that fits in the head is one that can be judged."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from tests.tidy.tree import CPP_SUFFIXES, PYTHON_SUFFIXES, Source, line_of

FILE_LINES_MAX = {".h": 250, ".cc": 400, ".cu": 400, ".py": 400, ".pyi": 400}
FUNCTION_LINES_MAX = 60
ROOM_UNITS_MAX = 12  # A header and its source are one unit: they are read as one.
LINE_CHARACTERS_MAX = 100


@dataclass(frozen=True)
class Excess:
    """Something longer than its limit."""

    rule: str
    where: str
    number: int
    limit: int

    def __str__(self) -> str:
        return f"{self.where}: {self.rule} is {self.number}, at most {self.limit}"


def check_file(source: Source) -> Iterator[Excess]:
    """Files, functions and lines that are too long."""
    where = str(source.path)
    lines = len(source.lines)
    limit = FILE_LINES_MAX[source.path.suffix]
    if lines > limit:
        yield Excess("file-lines", where, lines, limit)
    functions = python_functions if source.path.suffix in PYTHON_SUFFIXES else cpp_functions
    for name, length in functions(source):
        if length > FUNCTION_LINES_MAX:
            yield Excess("function-lines", f"{where}::{name}", length, FUNCTION_LINES_MAX)
    widest = max((len(line) for line in source.lines), default=0)
    if source.path.suffix in CPP_SUFFIXES and widest > LINE_CHARACTERS_MAX:  # Ruff does Python's.
        yield Excess("line-characters", where, widest, LINE_CHARACTERS_MAX)


def check_rooms(paths: Iterable[PurePosixPath]) -> Iterator[Excess]:
    """Rooms (folders of csrc/, kernels/ and python/fastserve/) with too many units."""
    rooms: defaultdict[PurePosixPath, set[str]] = defaultdict(set)
    for path in paths:
        inside = path.parts[0] in ("csrc", "kernels") or path.parts[:2] == ("python", "fastserve")
        if inside and path.suffix in CPP_SUFFIXES | PYTHON_SUFFIXES and path.stem != "__init__":
            rooms[path.parent].add(path.stem)
    for room, units in sorted(rooms.items()):
        if len(units) > ROOM_UNITS_MAX:
            yield Excess("room-units", str(room), len(units), ROOM_UNITS_MAX)


def python_functions(source: Source) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.name, node.end_lineno - node.lineno + 1


SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")
TEMPLATE = re.compile(r"\btemplate\s*<[^{};]*?>\s*(?=[a-zA-Z_\[])")


def cpp_functions(source: Source) -> Iterator[tuple[str, int]]:
    """Name and lines of each function, by counting braces: crude, but it need not be exact.

    A brace opens a function when it is not inside one, what stands before it has a parameter
    list, and that is no namespace, class or the like.
    """
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank_line, source.code, flags=re.MULTILINE)
    head_start, open_braces = 0, 0
    function: tuple[str, int, int] | None = None  # Name, first line, braces open around it.
    for match in re.finditer(r"[{};]", code):
        brace = match.group()
        if brace == "{":
            if function is None:
                head = code[head_start : match.start()]
                name = function_name(head)
                first = line_of(code, head_start + len(head) - len(head.lstrip()))
                function = (name, first, open_braces) if name else None
            open_braces += 1
        elif brace == "}":
            open_braces -= 1
            if function is not None and open_braces == function[2]:
                yield function[0], line_of(code, match.start()) - function[1] + 1
                function = None
        head_start = match.end()


def blank_line(match: re.Match[str]) -> str:
    return "\n" * match.group().count("\n")


def function_name(head: str) -> str | None:
    head = TEMPLATE.sub("", head)
    before_parameters = head.split("(", 1)[0]
    if "(" not in head or SCOPE.search(before_parameters) or "=" in before_parameters:
        return None
    gtest = re.search(r"\b(?:TEST|TEST_F|TEST_P)\s*\(\s*(\w+)\s*,\s*(\w+)", head)
    if gtest:
        return ".".join(gtest.groups())
    words = re.findall(r"[\w:~]+", before_parameters)
    return words[-1] if words else "?"
