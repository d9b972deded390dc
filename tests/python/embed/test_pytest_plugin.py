"""The fixtures, as a project that has fastserve installed finds them."""

import os
import subprocess
import sys

import pytest

from tests.python.embed.conftest import DIGITS, LIMIT_S

CALLS = f"""
import numpy as np

def test_first(fastserve_server, fastserve_session_server):
    model = fastserve_server.load({str(DIGITS)!r})
    assert model.infer({{"image": np.zeros((1, 8, 8), np.float32)}})["label"].shape == (1,)
    fastserve_session_server.load({str(DIGITS)!r})

def test_second(fastserve_server, fastserve_session_server):
    assert fastserve_server.models == {{}}
    assert list(fastserve_session_server.models) == ["digits"]
"""
ECHO = """
backend: "identity"
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }
parameters { key: "delay_us" value { string_value: "100000" } }
"""
FORGETS = """
import numpy as np

def test_forgets(fastserve_server):
    model = fastserve_server.load("echo")
    futures.extend(model.submit({"x": np.zeros(1, np.float32)}) for _ in range(20))

futures = []
"""


@pytest.fixture
def run_pytest(tmp_path):
    """Run a file of tests in a pytest of its own."""

    def run(text):
        (tmp_path / "test_it.py").write_text(text)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    return run


def test_servers_are_given_and_closed(run_pytest):
    done = run_pytest(CALLS)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert "ResourceWarning" not in done.stdout + done.stderr


def test_requests_that_still_wait_fail_their_test(run_pytest, tmp_path):
    (tmp_path / "echo" / "1").mkdir(parents=True)
    (tmp_path / "echo" / "config.pbtxt").write_text(ECHO)
    done = run_pytest(FORGETS)
    assert done.returncode == 1, done.stdout
    assert "requests were still waiting at the end of the test" in done.stdout
