"""C++ tests as pytest items: tests/csrc/base/status_test.cc::Status.OkIsNull.

Collecting a *_test.cc builds its program (`cmake --preset dev`, or what --cpp-preset names). A
program runs once, for all the cases that were selected, and each case reports from the result
file. A skipped case counts as a failure: a test that did not run proves nothing.
"""

from __future__ import annotations

import fcntl
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import proc

ROOT = Path(__file__).resolve().parent.parent
BUILDS = ROOT / "build"
BUILD_TIMEOUT_S = 1800
PROGRAM_TIMEOUT_S = 600
CASE_TIMEOUT_S = 120
OUTPUT_TAIL_LINES = 60

SANITIZER_OPTIONS = {
    # Memory that cannot be had is an error that the core answers.
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1"
    ":allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:allocator_may_return_null=1"
    f":suppressions={ROOT}/tests/tsan.supp",
}


class CppFailure(Exception):
    """A C++ case failed, was skipped, or ended its program; the text is the program's own."""


@dataclass(frozen=True)
class Case:
    """One case of a program: "Suite.Name" and where it is written."""

    name: str
    file: Path
    line: int


def program_of(test: Path) -> str:
    """tests/csrc/backends/identity/x_test.cc is built into backends_identity_test.

    A room's folders are part of its program; each backend is a room of its own.
    """
    parts = test.relative_to(ROOT / "tests").parent.parts
    if parts[0] == "csrc":
        parts = parts[1:3] if parts[1] == "backends" else parts[1:2]
    return "_".join(parts) + "_test"


def environment() -> dict[str, str]:
    """What the programs are told: sanitizer options, where models and ONNX Runtime are."""
    env = dict(SANITIZER_OPTIONS) | dict(os.environ)
    env.setdefault("FASTSERVE_TEST_MODELS", str(ROOT / "tests" / "models"))
    if not proc.IS_OURS:  # LeakSanitizer looks for its threads there.
        env["ASAN_OPTIONS"] += ":detect_leaks=0"
    spec = importlib.util.find_spec("onnxruntime")  # Found, not imported: that takes 0.1 s.
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for library in sorted(Path(folder, "capi").glob("libonnxruntime.so.*")):
            env.setdefault("FASTSERVE_ORT_LIBRARY", str(library))
    return env


@functools.cache
def build(preset: str, program: str) -> Path:
    """Build one program of a preset; its path. Quick when nothing changed."""
    configure(preset)
    cmake(["--build", "--preset", preset, "--target", program])
    return BUILDS / preset / "tests" / program


@functools.cache
def configure(preset: str) -> None:
    # Where the extension module is built, too: with the interpreter and the pybind11 of the tests.
    command = [sys.executable, "-m", "pybind11", "--cmakedir"]
    folder = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    python = f"-DPython_EXECUTABLE={sys.executable}"
    cmake(["--preset", preset, python, f"-Dpybind11_DIR={folder}"])


def cmake(arguments: list[str]) -> None:
    """Runs side by side take turns: a build folder is one build's at a time."""
    env = dict(os.environ)
    env["PATH"] = str(Path(sys.executable).parent) + os.pathsep + env["PATH"]
    env.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
    program = shutil.which("cmake", path=env["PATH"]) or "cmake"
    BUILDS.mkdir(exist_ok=True)
    with (BUILDS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [program, *arguments],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BUILD_TIMEOUT_S,
        )
    if done.returncode != 0:
        raise CppFailure(f"cmake {' '.join(arguments)} failed:\n{tail(done.stdout)}")


@functools.cache
def launcher(preset: str) -> list[str]:
    """ThreadSanitizer needs an address space less random than some kernels make it."""
    setarch = shutil.which("setarch")
    if preset != "tsan" or setarch is None:
        return []
    command = [setarch, "-R"]
    works = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if works else []


def run(preset: str, program: Path, *arguments: str, timeout_s: float) -> tuple[int, str, Any]:
    """Run a program: its exit status, what it printed, and its result file (None without)."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        command = [*launcher(preset), str(program), f"--gtest_output=json:{result}", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as late:
            text = late.stdout.decode(errors="replace") if late.stdout else ""
            return -1, f"{text}\nno end after {timeout_s} s", None
        content = json.loads(result.read_text()) if result.exists() else None
        return done.returncode, done.stdout, content


@functools.cache
def list_cases(preset: str, program: Path) -> tuple[Case, ...]:
    status, output, found = run(preset, program, "--gtest_list_tests", timeout_s=CASE_TIMEOUT_S)
    if status != 0 or found is None:
        raise CppFailure(f"{program.name} cannot list its tests:\n{tail(output)}")
    # A compiler cache may have made the paths relative to where the compiler ran.
    folder = program.parent.parent
    return tuple(
        Case(
            f"{suite['name']}.{case['name']}", (folder / case["file"]).resolve(), int(case["line"])
        )
        for suite in found["testsuites"]
        for case in suite["testsuite"]
    )


def outcomes(result: Any) -> dict[str, str | None]:
    """Case -> what went wrong, or None when it passed; from a program's result file."""
    found: dict[str, str | None] = {}
    for suite in result["testsuites"]:
        for case in suite["testsuite"]:
            wrong = [failure["failure"] for failure in case.get("failures", [])]
            if case["result"] == "SKIPPED":
                wrong.append("skipped: a C++ test that does not run counts as failed")
            elif case["result"] != "COMPLETED":
                wrong.append(f"not run: {case['result']}")
            found[f"{suite['name']}.{case['name']}"] = "\n".join(wrong) or None
    return found


def tail(text: str) -> str:
    return "\n".join(text.splitlines()[-OUTPUT_TAIL_LINES:])


class CppTestFile(pytest.File):
    """A *_test.cc file."""

    def collect(self) -> Iterator[CppItem]:
        preset = self.config.getoption("--cpp-preset")
        program = build(preset, program_of(self.path))
        here = [case for case in list_cases(preset, program) if case.file == self.path]
        if not here:
            raise CppFailure(f"{program.name} has no case of this file")
        for case in here:
            yield CppItem.from_parent(self, name=case.name, case=case, program=program)

    def _repr_failure_py(self, excinfo: Any, style: Any = None) -> Any:
        if isinstance(excinfo.value, CppFailure):
            return str(excinfo.value)
        return super()._repr_failure_py(excinfo, style)


class CppItem(pytest.Item):
    """One C++ case."""

    def __init__(self, *, case: Case, program: Path, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.case = case
        self.program = program

    def runtest(self) -> None:
        wrong = self._together().get(self.case.name, "not run with the others")
        if wrong == "not run with the others":
            wrong = self._alone()
        if wrong is not None:
            raise CppFailure(wrong)

    def _together(self) -> dict[str, str | None]:
        """The outcomes of all selected cases of this program; none when it died on the way."""
        results = self.session.stash.setdefault(RESULTS, {})
        if self.program not in results:
            items = [item for item in self.session.items if isinstance(item, CppItem)]
            names = [item.case.name for item in items if item.program == self.program]
            results[self.program] = self._run(names, PROGRAM_TIMEOUT_S)[2] or {}
        return results[self.program]

    def _alone(self) -> str | None:
        """What a program that died, died of: each of its cases runs by itself."""
        status, output, found = self._run([self.case.name], CASE_TIMEOUT_S)
        if status == 0 and found is not None:
            return found[self.case.name]
        return f"{self.program.name} ended with {status}:\n{tail(output)}"

    def _run(
        self, names: list[str], timeout_s: float
    ) -> tuple[int, str, dict[str, str | None] | None]:
        chosen = "--gtest_filter=" + ":".join(names)
        preset = self.config.getoption("--cpp-preset")
        status, output, result = run(preset, self.program, chosen, timeout_s=timeout_s)
        # Sanitizers speak at the end of a program, after its result file: then nothing counts.
        failed = result is not None and (result["failures"] or result.get("errors"))
        clean = result is not None and (status == 0 or (status == 1 and failed))
        return status, output, outcomes(result) if clean else None

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        if isinstance(excinfo.value, CppFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.case.file, self.case.line - 1, self.case.name


RESULTS = pytest.StashKey[dict[Path, dict[str, str | None]]]()
