"""What the tests of examples share: where they are, and whether a server can be started."""

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVER = Path(sys.executable).with_name("fastserve")
RUN_TIMEOUT_S = 120


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture
def load_example(monkeypatch):
    """Import a file of examples/ as Python would run it, under a name of its own."""

    def load(path: str) -> ModuleType:
        file = ROOT / "examples" / path
        name = "example_" + path.replace("/", "_").removesuffix(".py")
        monkeypatch.syspath_prepend(str(file.parent))
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)  # Dataclasses look their module up.
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def run_example():
    """Run a file of examples/ to its end, as a user does."""
    if not SERVER.exists():
        pytest.skip(f"{SERVER} is not installed")

    def run(path: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, ROOT / "examples" / path, *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=RUN_TIMEOUT_S,
        )

    return run
