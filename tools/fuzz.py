"""Run every libFuzzer target for a while, from its committed corpus: `make fuzz`.

tests/fuzz/<name>_fuzz.cc is built into <name>_fuzz; its corpus is tests/fuzz/corpus/<name>/. New
inputs go to build/fuzz-corpus; a crash is kept in build/fuzz-crashes and named.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "tests" / "fuzz"
INPUT_TIMEOUT_S = 10
MEMORY_LIMIT_MB = 2048
OUTPUT_TAIL_LINES = 60


def build() -> None:
    """Build the targets; ends the program with the compiler's words if that fails."""
    for step in (["--preset", "fuzz"], ["--build", "--preset", "fuzz"]):
        done = subprocess.run(
            ["cmake", *step], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode != 0:
            sys.exit("\n".join(done.stdout.splitlines()[-OUTPUT_TAIL_LINES:]))


def start(name: str, seconds: int) -> subprocess.Popen[str]:
    """One target, fuzzing."""
    found = ROOT / "build" / "fuzz-corpus" / name
    crashes = ROOT / "build" / "fuzz-crashes" / name
    for folder in (found, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    corpus = SOURCES / "corpus" / name
    dictionary = SOURCES / f"{name}.dict"
    command = [
        str(ROOT / "build" / "fuzz" / "tests" / "fuzz" / f"{name}_fuzz"),
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_LIMIT_MB}",
        f"-artifact_prefix={crashes}/",
        "-print_final_stats=1",
        *([f"-dict={dictionary}"] if dictionary.exists() else []),
        str(found),
        *([str(corpus)] if corpus.is_dir() else []),
    ]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def verdict(output: str) -> str:
    """Runs made and inputs found, of libFuzzer's last words."""
    words = ("stat::number_of_executed_units", "stat::new_units_added")
    lines = [line.split(":")[-1].strip() for line in output.splitlines() if line.startswith(words)]
    return " runs, new inputs: ".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    options = parser.parse_args()
    names = [path.stem.removesuffix("_fuzz") for path in sorted(SOURCES.glob("*_fuzz.cc"))]
    if not names:
        sys.exit(f"no target in {SOURCES.relative_to(ROOT)}")
    build()
    failed = 0
    at_once = os.cpu_count() or 1
    for first in range(0, len(names), at_once):
        running = [(name, start(name, options.seconds)) for name in names[first : first + at_once]]
        for name, process in running:
            output, _ = process.communicate()
            if process.returncode == 0:
                print(f"{name:24} ok      {verdict(output)}", flush=True)
                continue
            failed += 1
            print(f"{name:24} FAILED, see build/fuzz-crashes/{name}/", flush=True)
            print("\n".join(output.splitlines()[-OUTPUT_TAIL_LINES:]), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
