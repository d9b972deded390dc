"""Nothing in the tree is dead, and a test lies where its source does."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import pytest

from tests.tidy import floors, tree

# Suites that prove something about the whole, not about one file.
WHOLE = (
    "examples", "tidy", "conformance", "sim", "spin", "attacks", "faults", "regression", "bench"
)  # fmt: skip


def dead_headers(sources: Sequence[tree.Source]) -> Iterator[tree.Violation]:
    """Headers that no file includes; the public ones are for others to include."""
    included = {header for s in sources for _, header in floors.INCLUDE.findall(s.text)}
    for source in sources:
        path = source.path
        if path.suffix != ".h" or path.parts[:2] == ("csrc", "include"):
            continue
        names = {"/".join(path.parts[start:]) for start in range(len(path.parts))}
        if not names & included:
            yield tree.Violation(path, 1, "nobody includes it: use it or remove it")


def mirrored(test: PurePosixPath) -> tuple[PurePosixPath, str] | None:
    """Where the source of a test is expected: its folder and how its name begins."""
    parts = test.parts
    if parts[0] != "tests" or len(parts) < 3 or parts[1] in WHOLE:
        return None
    if test.name.endswith(("_test.cc", "_test.cu")):
        return PurePosixPath(*parts[1:-1]), test.stem.removesuffix("_test")
    if test.name.startswith("test_") and test.suffix == ".py" and parts[1] == "python":
        folder = PurePosixPath("python", "fastserve", *parts[2:-1])
        return folder, test.stem.removeprefix("test_")
    return None


def strays(paths: Sequence[PurePosixPath]) -> Iterator[tree.Violation]:
    """Tests that mirror no source: x_test.cc may test x.* or, as x_more_test.cc, a part of it."""
    suffixes = tree.CPP_SUFFIXES | tree.PYTHON_SUFFIXES
    sources = {(path.parent, path.stem) for path in paths if path.suffix in suffixes}
    folders = {path.parent for path in paths}
    for test in paths:
        place = mirrored(test)
        if place is None:
            continue
        folder, name = place
        words = name.split("_")
        starts = {"_".join(words[:count]) for count in range(1, len(words) + 1)}
        # The tests' own equipment is tested beside it; a test of a package bears its name.
        places = (folder, test.parent, PurePosixPath("tests"))
        found = any((place, start) in sources for place in places[:2] for start in starts)
        found = found or any(place / start in folders for place in places for start in starts)
        if not found and folder.name not in starts:
            yield tree.Violation(test, 1, f"no source {folder}/{name}.* for this test")


def test_every_header_is_included():
    found = list(dead_headers(list(tree.sources(tree.CPP_SUFFIXES))))
    assert not found, tree.report(found)


def test_every_test_mirrors_a_source():
    found = list(strays(tree.paths()))
    assert not found, tree.report(found)


def test_a_dead_header_is_found():
    alive = [
        tree.at("csrc/base/a.h", "//"),
        tree.at("csrc/base/a.cc", '#include "base/a.h"'),
        tree.at("csrc/include/fastserve/b.h", "//"),
        tree.at("kernels/k.h", "//"),
        tree.at("csrc/device/d.cc", '  #  include "kernels/k.h"'),
    ]
    dead = tree.at("csrc/base/dead.h", "//")
    assert [violation.path for violation in dead_headers([*alive, dead])] == [dead.path]


@pytest.mark.parametrize(
    ("test", "source", "fits"),
    [
        ("tests/csrc/base/a_test.cc", "csrc/base/a.h", True),
        ("tests/csrc/base/a_limits_test.cc", "csrc/base/a.cc", True),
        ("tests/csrc/base/b_test.cc", "csrc/base/a.h", False),
        ("tests/kernels/rows_test.cc", "kernels/rows.h", True),
        ("tests/csrc/sync/a_test.cc", "csrc/base/a.h", False),
        ("tests/python/config/test_units.py", "python/fastserve/config/units.py", True),
        ("tests/python/config/test_unit.py", "python/fastserve/config/units.py", False),
        ("tests/python/test_errors.py", "python/fastserve/errors.py", True),
    ],
)
def test_a_test_without_a_source_is_found(test, source, fits):
    paths = [PurePosixPath(test), PurePosixPath(source)]
    assert bool(list(strays(paths))) is not fits
