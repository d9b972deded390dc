"""The clients of KServe's Python SDK, which has an environment of its own: `make kserve`."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "build" / "kserve-venv" / "bin" / "python"


@pytest.mark.skipif(not PYTHON.exists(), reason="`make kserve` installs KServe's SDK")
def test_rest_and_grpc(server):
    program = Path(__file__).with_name("kserve_sdk.py")
    done = subprocess.run(
        [PYTHON, program, server.address], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("right")] == [
        "right health",
        "right rest binary=False",
        "right rest binary=True",
        "right error",
        "right grpc binary=False",
        "right grpc binary=True",
    ]
