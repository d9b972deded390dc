"""HTTP/2 without TLS, on the port of HTTP/1.1: curl, nghttp and h2load."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.served import Server

TIMEOUT_S = 60


def run(*command: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT_S, check=True)
    return done.stdout


def curl(server: Server, path: str, *options: str) -> bytes:
    return run(
        "curl", "--silent", "--show-error", "--http2-prior-knowledge", "--max-time", "30",
        *options, f"http://{server.address}{path}",
    )  # fmt: skip


def test_curl_gets_what_it_gets_over_http1(server):
    for path in ("/v2", "/v2/models/add_mul", "/v2/health/ready", "/v2/models/add_mul/config"):
        assert curl(server, path) == server.request("GET", path).body
    head = curl(server, "/v2/models/nothing", "--include").decode()
    assert head.startswith("HTTP/2 404")
    assert "there is no model 'nothing'" in head
    assert b"fastserve_" in curl(server, "/metrics")


def test_curl_infers(server):
    data = np.arange(4, dtype=np.float32).reshape(1, 4)
    tensor = {"datatype": "FP32", "shape": [1, 4], "data": data.ravel().tolist()}
    request = json.dumps({"inputs": [{"name": "a", **tensor}, {"name": "b", **tensor}]})
    answer = json.loads(curl(server, "/v2/models/add_mul/infer", "--data", request))
    assert answer["outputs"][0]["data"] == [0, 2, 4, 6]


def test_curl_uploads_what_is_large(server, tmp_path: Path):
    tensor = {"datatype": "FP32", "shape": [1, 200_000], "data": [1.5] * 200_000}
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"inputs": [{"name": "x", **tensor}]}))
    answer = json.loads(curl(server, "/v2/models/identity_fp32/infer", "--data-binary", f"@{body}"))
    assert answer["outputs"][0]["data"] == [1.5] * 200_000


def test_nghttp_asks_several_things_at_once(server):
    paths = ["/v2", "/v2/health/live", "/v2/models/add_mul"]
    said = run("nghttp", *(f"http://{server.address}{path}" for path in paths))
    for path in paths:
        assert server.request("GET", path).body in said


@pytest.mark.parametrize("streams", ["1", "10"])
def test_h2load_loses_nothing(server, streams):
    said = run(
        "h2load", "--requests=2000", "--clients=4", f"--max-concurrent-streams={streams}",
        f"http://{server.address}/v2/health/live",
    ).decode()  # fmt: skip
    assert re.search(r"2000 succeeded, 0 failed, 0 errored, 0 timeout", said), said
    assert "status codes: 2000 2xx" in said
