"""A sanitizer that is preloaded sees what a library does, and its report cannot be overlooked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import cores

WRONG = {
    "asan": """
        #include <cstdlib>
        extern "C" int Wrong(int right) {
          char* volatile memory = static_cast<char*>(std::malloc(8));
          if (!right) std::free(memory);
          memory[0] = 1;
          if (right) std::free(memory);
          return 0;
        }
    """,
    "tsan": """
        #include <atomic>
        #include <thread>
        static int shared;
        static std::atomic<int> ordered;
        extern "C" int Wrong(int right) {
          auto add = [right] {
            if (right) ++ordered; else ++shared;
          };
          std::thread first(add), second(add);
          first.join();
          second.join();
          return 0;
        }
    """,
}
SANITIZE = {"asan": "address,undefined", "tsan": "thread"}
CALL = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).Wrong(int(sys.argv[2])); print('went on')"
LOADED = "import fastserve._core._core as core; print(core.__file__)"


@pytest.fixture(params=cores.PRESETS)
def sanitizer(request, tmp_path) -> cores.Sanitizer:
    return cores.Sanitizer(request.param, tmp_path / "reports")


def call(
    sanitizer: cores.Sanitizer, folder: Path, *, right: bool
) -> subprocess.CompletedProcess[str]:
    """Python, which knows nothing of sanitizers, calls a library that was built with one."""
    source, library = folder / "wrong.cc", folder / "wrong.so"
    source.write_text(WRONG[sanitizer.preset])
    flags = [f"-fsanitize={SANITIZE[sanitizer.preset]}", "-fno-sanitize-recover=all"]
    build: list[str | Path] = [
        cores.CLANG,
        "-shared",
        "-fPIC",
        "-g",
        "-shared-libsan",
        *flags,
        "-o",
        library,
        source,
    ]
    subprocess.run(build, check=True)
    return subprocess.run(
        [sys.executable, "-c", CALL, library, str(int(right))],
        env={**os.environ, **sanitizer.environment},
        capture_output=True,
        text=True,
    )


def test_what_is_wrong_ends_the_program_and_is_raised_once(sanitizer, tmp_path):
    done = call(sanitizer, tmp_path, right=False)
    assert done.returncode == cores.REPORT_STATUS, done
    assert "went on" not in done.stdout
    with pytest.raises(cores.SanitizerReport, match=r"heap-use-after-free|data race"):
        sanitizer.check()
    sanitizer.check()


def test_what_is_right_goes_on(sanitizer, tmp_path):
    done = call(sanitizer, tmp_path, right=True)
    assert (done.returncode, done.stdout) == (0, "went on\n"), done
    sanitizer.check()


def test_a_warning_is_no_report(tmp_path):
    sanitizer = cores.Sanitizer("asan", tmp_path / "reports")
    (tmp_path / "reports" / "report.1").write_text("WARNING: no symbolizer\n")
    sanitizer.check()


def test_servers_run_with_the_chosen_core(request):
    """Whichever build is chosen for this run of the tests."""
    preset = request.config.getoption("--core-preset")
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        env={**os.environ, **cores.environment()},
        check=True,
        capture_output=True,
        text=True,
    )
    assert (f"/build/{preset}/" in done.stdout) == (preset is not None), done.stdout
