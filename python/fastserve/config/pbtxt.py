"""Read a config.pbtxt, and say where it is wrong.

protobuf's text_format does the reading. Beside it, a small scanner remembers which field stands
on which line: errors name file, line, field and the nearest valid name, and what is found out later
(a name that the model does not have) can still point at its line.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastserve.config import schema
from fastserve.config.spelling import did_you_mean, shorten
from fastserve.errors import Error, invalid

# The largest configs in use are some tens of kilobytes; reading this much takes about a second.
CONFIG_BYTES_MAX = 1 << 20
_DEPTH_MAX = 32  # No message of the schema nests as deeply.

# protobuf's own tokens. A string may lack its end, or looking for it again and again from each
# quote of a long line would take quadratic time.
_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*) | (?P<string>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)
      | (?P<word>[A-Za-z_][A-Za-z0-9_+-]*|(?:[0-9+-]|\.[0-9])[A-Za-z0-9_.+-]*) | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PART = re.compile(r'(?:\["[^"]*"\]|[^.])+')
_MISSING_SIGN = re.compile(r'Expected ("[^"\w]")\.')
_AT_END = "'': "  # How protobuf quotes the line behind the last one.
_BAD_STRING = "Couldn't parse string"
_EXPECTED = {1: "a number", 2: "a number", 8: "true or false", 9: 'a string in "quotes"'}
_ENUM, _MESSAGE, _STRING = 14, 11, 9
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
    """Where a config came from.

    `lines` maps "input[1]", "input[1].dims" and 'parameters["key"]' to their lines.
    """

    path: str = ""
    lines: dict[str, int] = field(default_factory=dict)
    said: frozenset[str] = frozenset()  # Fields that are set, where there are no lines.

    def says(self, name: str) -> bool:
        """Whether a field of the config itself was written, be it with its default."""
        return f"{name}[0]" in self.lines or name in self.said

    def wrong(self, where: str, message: str) -> Error:
        """An error at a field, e.g. `digits/config.pbtxt:3: input[0].dims: ...`."""
        return invalid(
            f"{self.at(where)}: {where}: {message}" if where else f"{self.path}: {message}"
        )

    def at(self, where: str) -> str:
        """The file and the line of the field, or of the nearest message around it."""
        parts = _PART.findall(where)
        while parts:
            around = [part if part.endswith("]") else part + "[0]" for part in parts[:-1]]
            key = ".".join([*around, parts[-1]])
            if key in self.lines:
                return f"{self.path}:{self.lines[key]}"
            parts.pop()
        return self.path


class _Scanner:
    """Walks the text format loosely: enough to know paths, leaving judgement to protobuf."""

    def __init__(self, text: str) -> None:
        self.places: dict[tuple[int, int], Place] = {}
        self.lines: dict[str, int] = {}
        self.unclosed = ""
        self._tokens = list(self._tokenize(text))
        self._next = 0
        # The text may end early or nest too deeply; protobuf says so.
        with contextlib.suppress(IndexError):
            self._message((), "")

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
        if len(path) > _DEPTH_MAX:
            raise IndexError
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
        if prefix and self._next == len(self._tokens):
            opened = self.lines[prefix.removesuffix(".")]
            self.unclosed = self.unclosed or f"{'.'.join(path)}, opened on line {opened}"

    def _values(
        self, path: tuple[str, ...], prefix: str, name: str, line: int, counts: dict[str, int]
    ) -> None:
        self.lines.setdefault(f"{prefix}{name}", line)
        is_list = self._peek() == "["
        if is_list:
            self._take(path)
        while True:
            if is_list and self._peek() == "]":
                break
            key = f"{prefix}{name}[{counts.get(name, 0)}]"
            counts[name] = counts.get(name, 0) + 1
            self.lines[key] = self._tokens[self._next][0] if is_list else line
            if self._peek() in "{<":
                self._take(path)
                self._message(path, key + ".")
                self._take(path)
            else:
                text = self._take(path)
                if name == "key":  # An entry of a map: its key finds it as well as its number.
                    entry = prefix.removesuffix(".")
                    by_key = f'{entry.rpartition("[")[0]}["{text[1:-1]}"]'
                    self.lines.setdefault(by_key, self.lines.get(entry, line))
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


def _explain(root: Any, scanner: _Scanner, position: tuple[int, int], reason: str) -> str:
    """What is wrong at a token, in the words of the person who wrote the file."""
    if reason in ('Expected "}".', 'Expected ">".') and scanner.unclosed:
        return f"{scanner.unclosed}: {reason[0].lower()}{reason[1:-1]} before the end of the file"
    place = scanner.places.get(position)
    if reason.startswith(_AT_END) and place is not None:
        return f"{'.'.join(place.path)}: unfinished at the end of the file"
    if place is None and "identifier or number" in reason:  # A bracket that closes nothing.
        return f"expected the name of a field, found {reason.rpartition(' ')[2].removesuffix('.')}"
    if place is None or not place.path:
        return reason[:1].lower() + reason[1:].removesuffix(".")
    *around, name = place.path
    found = _field(root, place.path)
    if found is None:
        if not _NAME.fullmatch(name):
            return f"expected the name of a field, found {shorten(name)}"
        parent = getattr(_field(root, tuple(around)), "message_type", None) if around else root
        names = list(parent.fields_by_name) if parent is not None else []
        inside = f" in {'.'.join(around)}" if around else ""
        return f"unknown field '{shorten(name)}'{inside}{did_you_mean(name, names)}"
    dotted = ".".join(place.path)
    if "should not have multiple" in reason:
        return f"{dotted}: given twice, expected once"
    if "oneof" in reason:
        first, second = re.findall(r'"(\w+)"', reason)[:2]
        return f"{first} and {second} exclude each other; keep one"
    missing = _MISSING_SIGN.match(reason)
    if missing and (found.type != _MESSAGE or missing[1] != '"{"'):
        return f"{dotted}: expected {missing[1]}, found {shorten(place.text)}"
    if place.is_name:
        return f"{dotted}: {reason[:1].lower()}{reason[1:].removesuffix('.')}"
    return f"{dotted}: {_expected(found, place.text)}"


def _expected(found: Any, text: str) -> str:
    shown = shorten(text)
    if found.type == _ENUM:
        names = [value.name for value in found.enum_type.values]
        guess = did_you_mean(text, names)
        return f"unknown value '{shown}'{guess or '; expected one of ' + ', '.join(names)}"
    if found.type == _MESSAGE:
        fields = ", ".join(found.message_type.fields_by_name)
        return f"expected {{ ... }} with {fields or 'nothing in it'}, found {shown}"
    if found.type in _INTEGERS:
        low, high = _INTEGERS[found.type]
        span = f" from {low} to {high}" if re.fullmatch(r"-?\d+", text) else ""
        return f"expected an integer{span}, found {shown}"
    if found.type == _STRING and text[0] in "\"'":
        ended = len(text) > 1 and text[-1] == text[0]
        kind = "with valid escapes, in UTF-8" if ended else "that ends on its line"
        return f"expected a string {kind}, found {shown}"
    return f"expected {_EXPECTED.get(found.type, 'another value')}, found {shown}"


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
        position, reason = _complaint(error, text, scanner)
        reason = _explain(message_class.DESCRIPTOR, scanner, position, reason)
        raise invalid(f"{path}:{position[0]}: {reason}") from None
    except ValueError:  # An enum given as a number that is none of 32 bits.
        raise _large_enum(message_class.DESCRIPTOR, scanner, path) from None
    source = Source(path, scanner.lines)
    check_enums(message, "", source)
    return message, source


def _complaint(error: Any, text: str, scanner: _Scanner) -> tuple[tuple[int, int], str]:
    """Where protobuf's complaint belongs, and what it is; without the line that it quotes."""
    line, column = position = error.GetLine() or 1, error.GetColumn() or 1
    reason = str(error).removeprefix(f"{line}:{column} : ")
    lines = text.split("\n")
    if not reason.startswith(_AT_END) and line <= len(lines):
        reason = reason.removeprefix(f"'{lines[line - 1]}': ")
    is_late = _BAD_STRING in reason  # Said at the token behind it.
    if is_late or reason.startswith(_AT_END):
        position = max((place for place in scanner.places if place < position), default=position)
    return position, _BAD_STRING if is_late else reason


def _large_enum(root: Any, scanner: _Scanner, path: str) -> Error:
    for (line, _), place in scanner.places.items():
        found = None if place.is_name or len(place.text) < 10 else _field(root, place.path)
        if found is not None and found.type == _ENUM:
            return invalid(f"{path}:{line}: {'.'.join(place.path)}: {_expected(found, place.text)}")
    return invalid(f"{path}: a number is out of range")


def check_enums(message: Any, prefix: str, source: Source) -> None:
    """An enum may be written as a number, and protobuf takes any: unknown ones are found here."""
    for found, value in message.ListFields():
        where = f"{prefix}{found.name}"
        if found.type == _ENUM and value not in found.enum_type.values_by_number:
            raise source.wrong(where, f"there is no value with the number {value}")
        if found.type == _MESSAGE and not found.message_type.GetOptions().map_entry:
            many = not hasattr(value, "ListFields")
            for index, inner in enumerate(value if many else [value]):
                check_enums(inner, f"{where}[{index}]." if many else f"{where}.", source)


def read(path: Path, shown_as: str) -> tuple[Any, Source]:
    """parse() of a file. Errors: also NOT_FOUND or INVALID_ARGUMENT for an unreadable one."""
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise Error("NOT_FOUND", f"{shown_as}: {error.strerror}") from None
    if len(data) > CONFIG_BYTES_MAX:
        raise invalid(f"{shown_as}: expected at most {CONFIG_BYTES_MAX} bytes, found more")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise invalid(f"{shown_as}: not UTF-8 text; is it a binary file?") from None
    try:
        return parse(text, shown_as)
    except ImportError:
        raise Error(
            "FAILED_PRECONDITION",
            f"{shown_as}: reading it needs protobuf; install it: pip install protobuf",
        ) from None
