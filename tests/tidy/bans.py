"""What the tree does not contain, each with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from tests.tidy.tree import CPP_SUFFIXES, PYTHON_SUFFIXES, Source, Violation, line_of

CODE = CPP_SUFFIXES | PYTHON_SUFFIXES
ANY = frozenset[str]()


@dataclass(frozen=True)
class Ban:
    """A pattern that may not occur in the files named.

    `paths` and `except_paths` match the start of a path; `suffixes` empty means every file.
    `in_comments`: look at the text as written, else only at C++ code.
    """

    pattern: str
    instead: str
    paths: str
    suffixes: frozenset[str] | set[str]
    except_paths: str = "(?!)"
    in_comments: bool = False


# The suites that talk to real processes over a network.
REAL_TIME = r"tests/(python/(server|client)|conformance|attacks|faults|examples)/"
DATA_PLANE = r"(csrc/(?!bind/)|kernels/)"

BANS = [
    Ban(
        r"std::(cout|cerr|clog)\b|\b(?:f|v|vf)?printf\s*\(|\bputs\s*\(",
        "count it (base/counter.h) or return a Status; the data plane does not log",
        DATA_PLANE,
        CPP_SUFFIXES,
        except_paths="csrc/base/check.h",
    ),
    Ban(r"\busing namespace std\b", "name what you use", "", CPP_SUFFIXES),
    Ban(r"(?:\.|->)detach\s*\(\s*\)", "own the thread and join it", "(csrc|tests)/", CPP_SUFFIXES),
    Ban(
        r"\bsleep_(for|until)\b|\bu?sleep\s*\(|\bnanosleep\b",
        "wait for the event (sync/signal.h, a condition, a pipe), or pass the time in",
        "(csrc|kernels|tests)/",
        CPP_SUFFIXES,
        except_paths=REAL_TIME,
    ),
    Ban(
        r"\btime\.sleep\b|\bfrom time import .*\bsleep\b",
        "wait for the event (a future, a pipe, a poll with a deadline)",
        "(python|tests)/",
        PYTHON_SUFFIXES,
        except_paths=REAL_TIME,
    ),
    Ban(
        r"\basyncio\.sleep\((?!0\))",  # sleep(0) only lets the others run.
        "wait for the event, or pass the time in",
        "tests/",
        PYTHON_SUFFIXES,
        except_paths=REAL_TIME,
    ),
    Ban(
        r"\bstd::((recursive_|timed_|shared_)?mutex|lock_guard|unique_lock|scoped_lock)\b",
        "Mutex and MutexLock of base/annotations.h, which clang checks",
        "csrc/",
        CPP_SUFFIXES,
        except_paths="csrc/base/annotations.h",
    ),
    Ban(
        r"\b(steady|system|high_resolution)_clock\b",
        "NowNanos() of base/clock.h, once, at the edge; pure code is told the time",
        "csrc/",
        CPP_SUFFIXES,
    ),
    Ban(
        r"hardware_(de|con)structive_interference_size",
        "64: the standard's value changes with compiler flags",
        "",
        CPP_SUFFIXES,
    ),
    Ban(r"\bthrow\b", "return a Status", DATA_PLANE, CPP_SUFFIXES),
    Ban(r"\bgetenv\b", "a field of Options, set by config", DATA_PLANE, CPP_SUFFIXES),
    Ban(
        r"\b(TODO|FIXME|XXX|HACK)\b",
        "do it, or state the limit where a reader meets it",
        "",
        CODE | {".txt", ".toml", ".sh", ".md"},
        in_comments=True,
    ),
    Ban(
        r"(?<![\w.])/(home|root|work|Users|opt|mnt|srv)/\w+",
        "a path relative to the tree, or one that is given",
        "",
        ANY,
        except_paths=r".*\.onnx$|tests/fuzz/corpus/|deploy/|bench/results/",
        in_comments=True,
    ),
    Ban(
        r"(?<![\d.v])(?!127\.|0\.0\.0\.0|192\.0\.2\.|198\.51\.100\.|203\.0\.113\.)"
        r"(?:10|172|192|169)(?:\.\d{1,3}){3}(?![\d.])",
        "127.0.0.1, or an address reserved for documentation (192.0.2.0/24)",
        "",
        ANY,
        except_paths=r".*\.(onnx|txt)$|tests/fuzz/corpus/",
        in_comments=True,
    ),
]

EMPTY_WORDS = {"util", "utils", "helper", "helpers", "common", "misc", "impl", "stuff"}


def check_bans(source: Source) -> Iterator[Violation]:
    path = str(source.path)
    for ban in BANS:
        if ban.suffixes and source.path.suffix not in ban.suffixes:
            continue
        if not re.match(ban.paths, path) or re.match(ban.except_paths, path):
            continue
        raw = ban.in_comments or source.path.suffix not in CPP_SUFFIXES
        text = source.text if raw else source.code
        for match in re.finditer(ban.pattern, text):
            message = f"`{match.group().strip()}`: instead, {ban.instead}"
            yield Violation(source.path, line_of(text, match.start()), message)


def check_name(path: PurePosixPath) -> Iterator[Violation]:
    """Names that say nothing about what is inside."""
    for part in path.parts:
        words = set(re.split(r"[_\W]+", part.lower()))
        empty = words & EMPTY_WORDS
        if empty or re.match(r"base_\w+\.(h|cc|py)$", part) or part.endswith("-inl.h"):
            yield Violation(path, 1, f"`{part}` says nothing: name what is inside")


def check_header(source: Source) -> Iterator[Violation]:
    """A header opens with why it exists, and guards itself the short way."""
    if "#pragma once" not in source.text:
        yield Violation(source.path, 1, "a header has #pragma once")
    if not source.text.startswith("//"):
        yield Violation(source.path, 1, "a header opens with a comment: why it exists")


# A number of time or size without its unit is read wrongly sooner or later.
UNIT_WORDS = r"(?:timeout|delay|interval|deadline|duration|latency|elapsed|period)"
CPP_UNITLESS = re.compile(
    rf"\b(?:u?int(?:32|64)?_t|int|unsigned|double|float|size_t)\s+((?:\w+_)?{UNIT_WORDS}_?)\b"
    r"\s*[;={,)]"
)
PYTHON_UNITLESS = re.compile(rf"\b((?:\w+_)?{UNIT_WORDS}):\s*(?:int|float)\b")


def check_units(source: Source) -> Iterator[Violation]:
    is_cpp = source.path.suffix in CPP_SUFFIXES
    text = source.code if is_cpp else source.text
    for match in (CPP_UNITLESS if is_cpp else PYTHON_UNITLESS).finditer(text):
        message = f"`{match.group(1)}` has no unit: use Nanos, or end the name in _ns, _ms or _s"
        yield Violation(source.path, line_of(text, match.start()), message)
