"""Whoever reads the document can ask all that is in it, and gets no answer that is not in it.

schemathesis makes requests out of the document: such as it allows, and such as it does not. It runs
as its users run it, by its command: its plugin for pytest does not know this pytest.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.served import Repository, Server

CHECKS: tuple[str, ...] = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
# A deadline of a millisecond, which the document allows, may pass: 504 is its answer.
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "504"]
"""
EXAMPLES = 20
TIMEOUT_S = 240.0


@pytest.mark.parametrize("control", ["none", "explicit"])
def test_no_answer_is_a_surprise(tmp_path, control):
    models = Repository(tmp_path / "models")
    models.add_identity("m")
    models.add("add_mul", "two inputs ä")
    models.add_identity("text", datatype="STRING", dims="2", more="max_batch_size: 8")
    models.add_identity("half", datatype="FP16", dims="2")
    flags = [
        "--model-control", control, "--trace-file", str(tmp_path / "trace.json"),
        "--debug-endpoint", "on",
    ]  # fmt: skip
    checks = CHECKS
    if control == "explicit":
        # A model that was unloaded meanwhile is a 503, as it should be.
        checks = tuple(check for check in CHECKS if check != "not_a_server_error")
        flags += ["--load-model", "*"]
    with Server(models.path, *flags) as server:
        run(f"http://{server.address}/v2/openapi.json", checks, tmp_path)
        counted = server.request("GET", "/metrics").body.decode()
        assert 'fastserve_http_responses_total{status="400"}' in counted
        for status in (500, 501):
            assert f'fastserve_http_responses_total{{status="{status}"}}' not in counted
        if control == "explicit":
            assert server.request("POST", "/v2/repository/models/m/load").status == 200


def run(url: str, checks: Sequence[str], folder: Path) -> None:
    (folder / "schemathesis.toml").write_text(CONFIG)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", url,
        "--checks", ",".join(checks), "--phases", "examples,coverage,fuzzing",
        "--max-examples", str(EXAMPLES), "--generation-deterministic", "--continue-on-failure",
        "--warnings", "off", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=TIMEOUT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
