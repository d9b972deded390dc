"""Run every linter and say what each found: `make lint`.

clang-tidy reads the C++ sources that differ from --since (by default the branch's start, or the
last commit on it), which takes seconds; --tidy=all reads every one, which takes minutes.
"""

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIDY_BUILD = ROOT / "build" / "tidy"
OUTPUT_LINES_MAX = 300


def run(*command: str) -> str:
    """Run a tool; what it printed if it failed, else nothing."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode == 0:
        return ""
    return done.stdout or f"{command[0]} ended with {done.returncode}"


def git(*arguments: str) -> list[str]:
    """The lines of a git command; none when it fails, as without the commit it names."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.splitlines() if done.returncode == 0 else []


def cpp_files() -> list[str]:
    listed = git("ls-files", "-co", "--exclude-standard", "*.h", "*.cc", "*.cu")
    return [name for name in listed if (ROOT / name).exists()]


def clang_format() -> str:
    return run("clang-format", "--dry-run", "-Werror", *cpp_files())


def changed_since(commit: str | None) -> set[str]:
    """Files that differ from the commit, or else from where this branch left main."""
    head = git("rev-parse", "HEAD")
    base = [commit] if commit else git("merge-base", "HEAD", "origin/main")
    if not base or base == head:
        base = ["HEAD~1"]
    return set(git("diff", "--name-only", base[0])) | set(
        git("ls-files", "--others", "--exclude-standard")
    )


def clang_tidy(which: str, since: str | None) -> str:
    """Warnings, wrong locking among them, in the sources of the core and the kernels."""
    sources = [n for n in cpp_files() if n.endswith(".cc") and n.startswith(("csrc", "kernels"))]
    # The extension's sources need its include paths, which only a build with Python knows.
    sources = [name for name in sources if not name.startswith("csrc/bind/")]
    if which == "changed":
        changed = changed_since(since)
        folders = {str(Path(name).parent) for name in changed if name.endswith(".h")}
        sources = [n for n in sources if n in changed or str(Path(n).parent) in folders]
    if not sources:
        return ""
    clang = shutil.which("clang++-19") or shutil.which("clang++") or "c++"
    definitions = ["-DFASTSERVE_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Debug"]
    command = ["-S", ".", "-B", str(TIDY_BUILD), "-G", "Ninja", f"-DCMAKE_CXX_COMPILER={clang}"]
    problem = run("cmake", *command, *definitions)
    if problem:
        return problem
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = pool.map(tidy_one, sources)
    return "\n".join(report for report in reports if report)


def tidy_one(source: str) -> str:
    extra = ["--extra-arg=-Wthread-safety", "--extra-arg=-Wno-unknown-warning-option"]
    return run("clang-tidy", "--quiet", "-p", str(TIDY_BUILD), *extra, source)


def steps(tidy: str, since: str | None) -> list[tuple[str, Callable[[], str]]]:
    """Every linter by its name; .pre-commit-config.yaml has a hook for all but clang-tidy."""
    return [
        ("ruff check", lambda: run("ruff", "check", ".")),
        ("ruff format", lambda: run("ruff", "format", "--check", ".")),
        ("mypy", lambda: run("mypy")),
        ("clang-format", clang_format),
        ("codespell", lambda: run("codespell")),
        (f"clang-tidy ({tidy})", lambda: clang_tidy(tidy, since)),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tidy", choices=["changed", "all"], default="changed")
    parser.add_argument("--since", help="a commit to compare with")
    options = parser.parse_args()
    failed = []
    for name, step in steps(options.tidy, options.since):
        started = time.monotonic()
        problem = step()
        verdict = "FAILED" if problem else "ok"
        print(f"{name:22} {verdict:7} {time.monotonic() - started:5.1f} s", flush=True)
        if problem:
            failed.append(name)
            print("\n".join(problem.splitlines()[:OUTPUT_LINES_MAX]), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
