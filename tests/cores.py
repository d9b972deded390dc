"""The build of the extension module that servers under test run with: --core-preset.

With `asan` or `tsan` the module is built with that sanitizer, beside the C++ tests and of the same
libraries, and every server that a test starts runs with it. The first report of a sanitizer ends
the server and fails the test in whose time it came, whatever the test itself had to say about it.

CPython, uvloop and ONNX Runtime stay as they are installed. AddressSanitizer therefore sees what
they do to our memory through the C library alone, and leaks are not looked for: the interpreter
leaves thousands of blocks behind on purpose, and each of ours was made by a call from it.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

from tests import cpp_items

ROOT = Path(__file__).resolve().parent.parent
SHIM = Path(__file__).parent / "core_shim"
CLANG = "clang++-19"
PRESETS = ("asan", "tsan")
# A server that a report ended is told from one that ended otherwise.
REPORT_STATUS = 86
REPORT_CHARACTERS_MAX = 8000


class SanitizerReport(Exception):
    """What a sanitizer said about a program."""


class Sanitizer:
    """Preloaded into programs that were built without it, because a library of theirs has it."""

    def __init__(self, preset: str, reports: Path) -> None:
        self.preset = preset
        self._reports = reports
        self._seen: set[Path] = set()
        shutil.rmtree(reports, ignore_errors=True)
        reports.mkdir(parents=True)

    @functools.cached_property
    def environment(self) -> dict[str, str]:
        options = f"log_path={self._reports}/report:exitcode={REPORT_STATUS}:halt_on_error=1"
        symbolizer = Path(_said_by_clang("-print-prog-name=llvm-symbolizer"))
        if symbolizer.is_absolute():
            options += f":external_symbolizer_path={symbolizer}"
        # The C++ library, too: the runtime looks for its exceptions when it is loaded.
        libraries = (f"libclang_rt.{self.preset}-x86_64.so", "libstdc++.so.6")
        return {
            "LD_PRELOAD": ":".join(
                _said_by_clang(f"-print-file-name={name}") for name in libraries
            ),
            "ASAN_OPTIONS": f"{options}:detect_leaks=0:allocator_may_return_null=1"
            ":detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": f"{options}:print_stacktrace=1",
            "TSAN_OPTIONS": f"{options}:second_deadlock_stack=1"
            f":suppressions={ROOT}/tests/tsan.supp",
            # Each of the interpreter's objects is a block of its own, watched like ours.
            "PYTHONMALLOC": "malloc",
        }

    def check(self) -> None:
        """Errors: SanitizerReport if there is one that was not raised before."""
        texts = []
        for path in sorted(set(self._reports.iterdir()) - self._seen):
            text = path.read_text(errors="replace")
            # The last line of each; what lacks it is a warning, or not yet written to its end.
            if "SUMMARY: " in text:
                self._seen.add(path)
                texts.append(text[:REPORT_CHARACTERS_MAX])
        if texts:
            raise SanitizerReport("\n".join(texts))


_chosen: Sanitizer | None = None


def choose(preset: str | None) -> None:
    """From now on servers run with that build, which is made if it is not there."""
    global _chosen
    if preset is not None:
        _chosen = Sanitizer(preset, module(preset).parent / "reports")


def environment() -> dict[str, str]:
    """What a server needs in its environment to run with the chosen build, if one is chosen."""
    if _chosen is None:
        return {}
    core = str(module(_chosen.preset))
    return {**_chosen.environment, "CORE_UNDER_TEST": core, "PYTHONPATH": str(SHIM)}


def check() -> None:
    """Errors: SanitizerReport if a server that runs, or ran, was reported."""
    if _chosen is not None:
        _chosen.check()


@functools.cache
def module(preset: str) -> Path:
    """The extension module, built."""
    cpp_items.configure(preset)
    cpp_items.cmake(["--build", "--preset", preset, "--target", "_core"])
    (built,) = (cpp_items.BUILDS / preset).glob("_core*.so")
    return built


def _said_by_clang(option: str) -> str:
    done = subprocess.run([CLANG, option], check=True, capture_output=True, text=True)
    return done.stdout.strip()
