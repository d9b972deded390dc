"""A C++ case reports as itself: passed, failed, skipped or dead."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import cpp_items

PROGRAM = """
#include <cstdlib>
#include <gtest/gtest.h>
TEST(Case, Passes) {}
TEST(Case, Fails) { EXPECT_EQ(1, 2) << "one is not two"; }
TEST(Case, Skips) { GTEST_SKIP(); }
TEST(Case, Dies) { if (std::getenv("DIES")) std::abort(); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cpp")
    source, program = folder / "case_test.cc", folder / "case_test"
    source.write_text(PROGRAM)
    command = ["g++", "-std=c++17", source, "-o", program, "-lgtest_main", "-lgtest", "-pthread"]
    subprocess.run(command, check=True)
    return program


def test_every_case_is_listed_with_its_place(program):
    cases = cpp_items.list_cases("dev", program)
    assert [case.name for case in cases] == ["Case.Passes", "Case.Fails", "Case.Skips", "Case.Dies"]
    assert [case.line for case in cases] == [4, 5, 6, 7]
    assert {case.file for case in cases} == {program.with_suffix(".cc")}


def test_failed_and_skipped_cases_are_failures(program):
    status, _, result = cpp_items.run("dev", program, timeout_s=60)
    found = cpp_items.outcomes(result)
    assert status == 1
    assert found["Case.Passes"] is None
    assert found["Case.Dies"] is None
    assert "one is not two" in str(found["Case.Fails"])
    assert "skipped" in str(found["Case.Skips"])


# The whole way, in a pytest of its own: a death is reported by the case that dies, and only there.
@pytest.mark.parametrize(("environment", "failed"), [({}, 2), ({"DIES": "1"}, 3)])
def test_a_dead_program_fails_only_the_case_that_killed_it(
    program, tmp_path, monkeypatch, environment, failed
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "conftest.py").write_text(
        "from pathlib import Path\n"
        "from tests import cpp_items\n"
        "from tests.conftest import *\n"
        f"cpp_items.build = lambda preset, name: Path({str(program)!r})\n"
        "cpp_items.program_of = lambda test: 'case_test'\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-c", "pytest.ini", f"--rootdir={tmp_path}", program.with_suffix(".cc")]
    command += [f"--confcutdir={tmp_path}", "-p", "conftest"]
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {cpp_items.ROOT} {tmp_path}\n")
    monkeypatch.setenv("PYTHONPATH", f"{cpp_items.ROOT}:{tmp_path}")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert f"{failed} failed, {4 - failed} passed" in done.stdout, done.stdout + done.stderr
    assert ("ended with -6" in done.stdout) is bool(environment)


@pytest.mark.parametrize(
    ("test", "program_name"),
    [
        ("csrc/base/status_test.cc", "base_test"),
        ("csrc/backends/identity/identity_test.cc", "backends_identity_test"),
        ("kernels/rows_test.cc", "kernels_test"),
    ],
)
def test_the_program_of_a_file_is_named_by_its_room(test, program_name):
    assert cpp_items.program_of(cpp_items.ROOT / "tests" / test) == program_name
