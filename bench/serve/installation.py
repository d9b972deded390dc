"""The environment that is measured: a wheel, installed as a user would install it.

An editable install runs from the source tree and may rebuild at import, so figures from one are
refused.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "references" / "requirements.txt"


class InstallationError(Exception):
    """There is nothing that may be measured."""


@dataclass(frozen=True)
class Installation:
    """One environment with fastserve (or, for proving the harness, without it) in it."""

    python: Path
    fastserve: Path | None
    wheel: Path | None

    @property
    def facts(self) -> dict[str, object]:
        """What is installed, as the environment itself says it."""
        code = (
            "import importlib.metadata as m, json, sys; print(json.dumps({'python': "
            "sys.version.split()[0], **{d.metadata['Name'].lower(): d.version "
            "for d in m.distributions()}}))"
        )
        done = subprocess.run(
            [str(self.python), "-c", code], capture_output=True, text=True, check=True
        )
        versions = json.loads(done.stdout)
        wanted = ["python", "fastserve", "numpy", "uvloop", "onnxruntime", "fastapi", "uvicorn"]
        found: dict[str, object] = {n: versions[n] for n in [*wanted, "httptools"] if n in versions}
        if self.wheel is not None:
            found["wheel"] = self.wheel.name
            found["wheel_bytes"] = self.wheel.stat().st_size
            found["wheel_sha256"] = digest(self.wheel)
        return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def newest_wheel(dist: Path) -> Path:
    """The wheel that was built last; InstallationError when there is none."""
    wheels = sorted(dist.glob("fastserve-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        raise InstallationError("dist/ holds no wheel of fastserve: run `make wheel` first")
    return wheels[-1]


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *arguments], check=True)


def prepared(root: Path, *, with_wheel: bool) -> Installation:
    """Creates or refreshes build/bench-venv; does nothing when it is current."""
    home = root / "build" / "bench-venv"
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    if _is_new(home / "requirements.sha256", REQUIREMENTS):
        _pip(python, "--requirement", str(REQUIREMENTS))
        (home / "requirements.sha256").write_text(digest(REQUIREMENTS))
    if not with_wheel:
        return Installation(python, None, None)
    wheel = newest_wheel(root / "dist")
    if _is_new(home / "wheel.sha256", wheel):
        _pip(python, str(wheel))  # Its dependencies, where they are not there yet.
        _pip(python, "--force-reinstall", "--no-deps", str(wheel))
        (home / "wheel.sha256").write_text(digest(wheel))
    require_installed(python, home)
    return Installation(python, home / "bin" / "fastserve", wheel)


def _is_new(stamp: Path, subject: Path) -> bool:
    return not stamp.exists() or stamp.read_text() != digest(subject)


def require_installed(python: Path, home: Path) -> None:
    """InstallationError unless fastserve is imported from within the environment."""
    code = "import fastserve; print(fastserve.__file__)"
    # From "/", so that no source tree in the working directory can be imported instead.
    done = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, cwd="/", check=False
    )
    if done.returncode != 0:
        raise InstallationError(f"the wheel does not import: {done.stderr.strip()[-500:]}")
    where = Path(done.stdout.strip())
    if home.resolve() not in where.resolve().parents:
        raise InstallationError("fastserve is not imported from the installed wheel")
