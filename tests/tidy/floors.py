"""The floors of the house, as data, and the one rule.

An include or an import goes to a strictly lower floor; rooms on one floor never see each other.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.tidy.tree import Source, Violation

CPP_FLOORS = {
    "fastserve": 0,  # The public headers: plain C, so that they outlive compilers.
    "base": 0,
    "tensor": 1,
    "sync": 1,
    "kernels": 1,
    "device": 2,
    "protocol": 2,
    "memory": 3,
    "channel": 4,
    "serving": 4,
    "gateway": 5,
    "client": 5,
    "backends": 5,  # Each engine is a room of its own.
    "bind": 6,
}

PYTHON_FLOORS = {
    "_core": 0,
    "errors": 1,  # Below config: what is wrong with a configuration is an Error too.
    "config": 2,
    "model": 2,
    "worker": 3,
    "rpc": 3,
    "client": 4,
    "control": 4,
    "server": 5,
    "embed": 6,
    "cli": 7,
    "integrations": 7,
    "__init__": 8,  # The public names: may offer anything, and nobody below asks it.
    "__main__": 8,
}

# Rooms that may see less than their floor allows: what they may see.
ONLY = {
    "fastserve": set[str](),
    "kernels": {"base"},
    "protocol": {"base", "tensor"},  # Pure: bytes in, events out.
}

# Headers from outside that belong to one place: pattern, who may, why.
OUTSIDE = [
    (r"Python\.h|pybind11/", {"bind"}, "only bind sees Python"),
    (r"cuda|cublas|cudnn", {"device", "kernels"}, "CUDA appears only in device and kernels"),
    (r"boost/", set[str](), "Boost is an oracle of tests/fuzz, no part of the core"),
    (r"simdjson", {"protocol"}, "JSON is read in protocol"),
    (r"nghttp2/|protozero/", {"protocol"}, "HTTP/2 and protobuf are read in protocol"),
    (r"zlib\.h", {"protocol"}, "compression is protocol's affair"),
]

# What a room may not even know, whatever its floor.
NO_PROTOCOL = (r"protocol/.*", "what a request looks like on the wire is the gateway's affair")
UNKNOWN_TO = {
    "memory": NO_PROTOCOL,
    "serving": NO_PROTOCOL,
    "protocol": (
        r"thread|mutex|condition_variable|chrono|filesystem|fstream|semaphore|base/clock\.h",
        "protocol knows no clock, thread or file",
    ),
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def cpp_room(path: PurePosixPath) -> str | None:
    """The room of a C++ file (tests live in the room they test), e.g. "backends/identity"."""
    parts = path.parts[1:] if path.parts[0] == "tests" else path.parts
    if parts[0] == "kernels":
        return "kernels"
    if parts[0] != "csrc" or len(parts) < 3:
        return None
    return included_room("/".join(parts[2:] if parts[1] == "include" else parts[1:]))


def included_room(header: str) -> str | None:
    parts = header.split("/")
    if len(parts) < 2 or parts[0] not in CPP_FLOORS:
        return None
    return "/".join(parts[:2]) if parts[0] == "backends" else parts[0]


def may_see(room: str, other: str) -> bool:
    if room == other:
        return True
    if room in ONLY:
        return other in ONLY[room]
    return CPP_FLOORS[other.split("/")[0]] < CPP_FLOORS[room.split("/")[0]]


def check_includes(source: Source) -> Iterator[Violation]:
    """Includes that go up or sideways, or that let the outside in at the wrong door."""
    room = cpp_room(source.path)
    if room is None:
        return
    is_test = source.path.parts[0] == "tests"
    for match in INCLUDE.finditer(source.text):
        quote, header = match.groups()
        line = source.text.count("\n", 0, match.start(1)) + 1
        other = included_room(header)
        if quote == '"' and other is not None and not may_see(room, other):
            yield Violation(source.path, line, f"{room} may not include {header} (see floors.py)")
        for pattern, rooms, why in OUTSIDE:
            if re.match(pattern, header) and room not in rooms:
                yield Violation(source.path, line, f"{room} includes {header}: {why}")
        unknown, why = UNKNOWN_TO.get(room, ("(?!)", ""))
        if not is_test and re.fullmatch(unknown, header):
            yield Violation(source.path, line, f"{room} includes {header}: {why}")


def python_room(path: PurePosixPath) -> str | None:
    if path.parts[:2] != ("python", "fastserve"):
        return None
    return path.parts[2].split(".")[0]


def imported_modules(tree: ast.Module, package: list[str]) -> Iterator[tuple[int, str]]:
    """Each imported name of fastserve, as line and dotted path; relative ones made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield node.lineno, ".".join([*base, alias.name])


def check_imports(source: Source) -> Iterator[Violation]:
    """Imports inside the package that go up or sideways."""
    room = python_room(source.path)
    if room is None:
        return
    if room not in PYTHON_FLOORS:
        yield Violation(source.path, 1, f"{room} has no floor: give it one in floors.py")
        return
    package = list(source.path.parent.parts[1:])
    for line, name in imported_modules(ast.parse(source.text), package):
        parts = name.split(".")
        if parts[0] != "fastserve" or len(parts) < 2 or parts[1] in (room, "__version__"):
            continue
        other = parts[1] if parts[1] in PYTHON_FLOORS else "__init__"
        if PYTHON_FLOORS[other] >= PYTHON_FLOORS[room]:
            yield Violation(source.path, line, f"{room} may not import {name} (see floors.py)")
