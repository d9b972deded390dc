"""The tree does not contain what bans.py lists."""

import pytest

from tests.tidy import bans, tree

CODE = tree.CPP_SUFFIXES | tree.PYTHON_SUFFIXES
# The rules and their tests spell out what they forbid.
RULES = "tests/tidy/"


def own_sources(suffixes):
    return [s for s in tree.sources(suffixes) if not str(s.path).startswith(RULES)]


def test_nothing_banned_is_in_the_tree():
    suffixes = {path.suffix for path in tree.paths()}
    found = [v for source in own_sources(suffixes) for v in bans.check_bans(source)]
    assert not found, tree.report(found)


def test_names_say_what_is_inside():
    found = [violation for path in tree.paths() for violation in bans.check_name(path)]
    assert not found, tree.report(found)


def test_headers_open_with_why_they_exist():
    found = [v for source in own_sources({".h"}) for v in bans.check_header(source)]
    assert not found, tree.report(found)


def test_units_are_in_the_names():
    found = [v for source in own_sources(CODE) for v in bans.check_units(source)]
    assert not found, tree.report(found)


# One offence per ban, in a file that it covers.
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("csrc/base/a.cc", 'std::cout << "x";'),
        ("csrc/memory/a.cc", 'fprintf(stderr, "x");'),
        ("csrc/bind/a.cc", "using namespace std;"),
        ("csrc/serving/a.cc", "thread.detach();"),
        ("tests/csrc/sync/a_test.cc", "std::this_thread::sleep_for(1ms);"),
        ("tests/python/control/test_a.py", "time.sleep(1)"),
        ("tests/python/control/test_a.py", "await asyncio.sleep(0.1)"),
        ("csrc/serving/a.h", "std::mutex mutex_;"),
        ("csrc/serving/a.h", "std::chrono::steady_clock::now();"),
        ("csrc/sync/a.h", "std::hardware_destructive_interference_size"),
        ("csrc/protocol/a.cc", "throw 1;"),
        ("csrc/serving/a.cc", 'std::getenv("X");'),
        ("python/fastserve/a.py", "# TODO: later"),
        ("README.md", "cd /home/somebody"),
        ("docs/a.md", "curl http://10.1.2.3/"),
    ],
)
def test_a_banned_thing_is_found(path, text):
    assert list(bans.check_bans(tree.at(path, text)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("csrc/base/a.cc", "// std::cout is not for us"),
        ("csrc/base/a.cc", 'snprintf(buffer, n, "printf(");'),
        ("tests/python/server/test_a.py", "time.sleep(1)"),
        ("tests/python/control/test_a.py", "await asyncio.sleep(0)"),
        ("python/fastserve/server/a.py", "await asyncio.sleep(interval_s)"),
        ("csrc/bind/a.cc", "throw py::error_already_set();"),
        ("README.md", "curl http://127.0.0.1:8000/v2/models at version 10.0.1"),
    ],
)
def test_what_is_allowed_passes(path, text):
    assert not list(bans.check_bans(tree.at(path, text)))


@pytest.mark.parametrize("name", ["csrc/base/utils.h", "python/fastserve/common/a.py"])
def test_an_empty_name_is_found(name):
    assert list(bans.check_name(tree.at(name, "").path))


def test_a_header_without_a_reason_is_found():
    assert len(list(bans.check_header(tree.at("csrc/base/a.h", "#include <array>\n")))) == 2
    assert not list(bans.check_header(tree.at("csrc/base/a.h", "// Why.\n#pragma once\n")))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("csrc/base/a.h", "int64_t queue_delay = 0;"),
        ("csrc/base/a.h", "double timeout_;"),
        ("python/fastserve/a.py", "def f(timeout: float) -> None: ..."),
    ],
)
def test_a_name_without_its_unit_is_found(path, text):
    assert list(bans.check_units(tree.at(path, text)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("csrc/base/a.h", "int64_t queue_delay_ns = 0; Nanos deadline;"),
        ("python/fastserve/a.py", "def f(timeout_s: float) -> None: ..."),
    ],
)
def test_a_name_with_its_unit_passes(path, text):
    assert not list(bans.check_units(tree.at(path, text)))
