"""Read a config.pbtxt, and say where it is wrong.

protobuf's text_format does the reading. Beside it, a small scanner remembers which field stands
on which line: errors name file, line, field and the nearest valid name, and what is found out later
(a name that the model does not have) can still point at its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastserve.config import schema
from fastserve.config.spelling import did_you_mean
from fastserve.errors import Error, invalid

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*) | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<word>[-+]?[A-Za-z0-9_.+]+) | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_EXPECTED = {1: "a number", 2: "a number", 8: "true or false", 9: 'a string in "quotes"'}
_ENUM, _MESSAGE = 14, 11
_INTEGERS = {
    3: (-(2**63), 2**63 - 1),
    4: (0, 2**64 - 1),
    5: (-(2**31), 2**31 - 1),
    13: (0, 2**32 - 1),
}


@dataclass(frozen=True)
class Place:
    """A token of the file: the field it belongs to, and whether it is the field's name."""

    path: tuple[str, ...]
    is_name: bool
    text: str


@dataclass(frozen=True)
class Source:
    """Where a config came from. `lines` maps "input[1].dims" to its line."""

    path: str = ""
    lines: dict[str, int] = field(default_factory=dict)

    def wrong(self, where: str, message: str) -> Error:
        """An error at a field, e.g. `digits/config.pbtxt:3: input[0].dims: ...`."""
        return invalid(
            f"{self.at(where)}: {where}: {message}" if where else f"{self.path}: {message}"
        )

    def at(self, where: str) -> str:
        """The file and the line of the field, or of the nearest message around it."""
        parts = where.split(".") if where else []
        while parts:
            key = ".".join(part if part.endswith("]") else part + "[0]" for part in parts)
            if key in self.lines:
                return f"{self.path}:{self.lines[key]}"
            parts.pop()
        return self.path


class _Scanner:
    """Walks the text format loosely: enough to know paths, leaving judgement to protobuf."""

    def __init__(self, text: str) -> None:
        self.places: dict[tuple[int, int], Place] = {}
        self.lines: dict[str, int] = {}
        self._tokens = list(self._tokenize(text))
        self._next = 0
        try:
            self._message((), "")
        except (IndexError, RecursionError):
            pass  # The text ends early; protobuf says so.

    @staticmethod
    def _tokenize(text: str) -> Iterator[tuple[int, int, str]]:
        line, line_start = 1, 0
        for match in _TOKEN.finditer(text):
            if match.lastgroup != "skip":
                yield line, match.start() - line_start + 1, match[0]
            newlines = match[0].count("\n")
            if newlines:
                line += newlines
                line_start = match.start() + match[0].rindex("\n") + 1

    def _peek(self) -> str:
        return self._tokens[self._next][2]

    def _take(self, path: tuple[str, ...], is_name: bool = False) -> str:
        line, column, text = self._tokens[self._next]
        self.places[line, column] = Place(path, is_name, text)
        self._next += 1
        return text

    def _message(self, path: tuple[str, ...], prefix: str) -> None:
        counts: dict[str, int] = {}
        while self._next < len(self._tokens) and self._peek() not in "}>":
            line, _, name = self._tokens[self._next]
            inner = (*path, name)
            self._take(inner, is_name=True)
            if self._peek() == ":":
                self._take(inner)
            self._values(inner, prefix, name, line, counts)
            if self._next < len(self._tokens) and self._peek() in ",;":
                self._take(path)

    def _values(
        self, path: tuple[str, ...], prefix: str, name: str, line: int, counts: dict[str, int]
    ) -> None:
        is_list = self._peek() == "["
        if is_list:
            self._take(path)
        while True:
            if is_list and self._peek() == "]":
                break
            key = f"{prefix}{name}[{counts.get(name, 0)}]"
            counts[name] = counts.get(name, 0) + 1
            self.lines[key] = line if counts[name] == 1 else self._tokens[self._next][0]
            if self._peek() in "{<":
                self._take(path)
                self._message(path, key + ".")
                self._take(path)
            else:
                self._take(path)
                while self._next < len(self._tokens) and self._peek()[0] in "\"'":
                    self._take(path)  # Adjacent strings are one.
            if not is_list or self._peek() != ",":
                break
            self._take(path)
        if is_list:
            self._take(path)


def _field(message: Any, path: tuple[str, ...]) -> Any | None:
    """The descriptor of the field at `path`, or None where no such field is."""
    found = None
    for name in path:
        if message is None:
            return None
        found = message.fields_by_name.get(name)
        if found is None:
            return None
        message = found.message_type
    return found


def _explain(root: Any, place: Place, fallback: str) -> str:
    """What is wrong at a token, in the words of the person who wrote the file."""
    parent = (
        root
        if len(place.path) == 1
        else getattr(_field(root, place.path[:-1]), "message_type", None)
    )
    found = _field(root, place.path)
    if found is None:
        names = list(parent.fields_by_name) if parent is not None else []
        inside = f" in {'.'.join(place.path[:-1])}" if len(place.path) > 1 else ""
        return f"unknown field '{place.path[-1]}'{inside}{did_you_mean(place.path[-1], names)}"
    if "should not have multiple" in fallback:
        return f"{'.'.join(place.path)}: given twice, expected once"
    if "oneof" in fallback:
        others = re.findall(r'"(\w+)"', fallback)
        return f"{others[0]} and {others[1]} exclude each other; keep one"
    if place.is_name or not re.match(r"[\w.+\"'-]", place.text):
        return f"{'.'.join(place.path)}: {fallback}"
    return f"{'.'.join(place.path)}: {_expected(found, place.text)}"


def _expected(found: Any, text: str) -> str:
    if found.type == _ENUM:
        names = [value.name for value in found.enum_type.values]
        guess = did_you_mean(text, names)
        return f"unknown value '{text}'{guess or '; expected one of ' + ', '.join(names)}"
    if found.type == _MESSAGE:
        fields = ", ".join(found.message_type.fields_by_name)
        return f"expected {{ ... }} with {fields or 'nothing in it'}, found {text}"
    if found.type in _INTEGERS:
        low, high = _INTEGERS[found.type]
        span = "an integer of at least 0" if low == 0 else "an integer"
        if re.fullmatch(r"-?\d+", text) and int(text) > high:
            span = f"an integer of at most {high}"
        return f"expected {span}, found {text}"
    return f"expected {_EXPECTED.get(found.type, 'another value')}, found {text}"


def parse(text: str, path: str) -> tuple[Any, Source]:
    """The ModelConfig message of a config.pbtxt; `path` is how messages name the file.

    Errors: INVALID_ARGUMENT with file, line and field.
    """
    from google.protobuf import text_format

    message_class = schema.model_config_class()
    message = message_class()
    scanner = _Scanner(text)
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        line, column = error.GetLine(), error.GetColumn()
        reason = str(error).rpartition(" : ")[2].rpartition("': ")[2]
        place = scanner.places.get((line, column))
        if place is not None:
            reason = _explain(message_class.DESCRIPTOR, place, reason)
        raise invalid(f"{path}:{line}: {reason}") from None
    source = Source(path, scanner.lines)
    _check_enums(message, "", source)
    return message, source


def _check_enums(message: Any, prefix: str, source: Source) -> None:
    """An enum may be written as a number; protobuf takes any, so the unknown ones are found here."""
    for found, value in message.ListFields():
        where = f"{prefix}{found.name}"
        if found.type == _ENUM and value not in found.enum_type.values_by_number:
            raise source.wrong(where, f"there is no value with the number {value}")
        if found.type == _MESSAGE and not found.message_type.GetOptions().map_entry:
            many = not hasattr(value, "ListFields")
            for index, inner in enumerate(value if many else [value]):
                _check_enums(inner, f"{where}[{index}]." if many else f"{where}.", source)


def read(path: Path, shown_as: str) -> tuple[Any, Source]:
    """parse() of a file. Errors: also NOT_FOUND or INVALID_ARGUMENT for an unreadable one."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise invalid(
            f"{shown_as}: not UTF-8 text (byte {error.start}); is it a binary file?"
        ) from None
    except OSError as error:
        raise Error("NOT_FOUND", f"{shown_as}: {error.strerror}") from None
    try:
        return parse(text, shown_as)
    except ImportError:
        raise Error(
            "FAILED_PRECONDITION",
            f"{shown_as}: reading it needs protobuf; install it: pip install protobuf",
        ) from None
