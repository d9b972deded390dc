"""Compression, as the stock clients ask for it: both ways, over REST and gRPC."""

import gzip
import json
import urllib.request
import zlib

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from tests.served import Server

ROWS = 500
X = np.arange(ROWS * 4, dtype=np.float32).reshape(ROWS, 4)
PATH = "/v2/models/raw_open/infer"


def inputs(module, *, binary: bool | None = None):
    made = module.InferInput("x", list(X.shape), "FP32")
    made.set_data_from_numpy(X) if binary is None else made.set_data_from_numpy(X, binary)
    return [made]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_over_http(client, algorithm, binary):
    wanted = [tritonclient.http.InferRequestedOutput("y", binary_data=binary)]
    result = client.infer(
        "raw_open",
        inputs(tritonclient.http, binary=binary),
        outputs=wanted,
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), X)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_over_grpc(server, algorithm):
    with tritonclient.grpc.InferenceServerClient(server.address) as client:
        result = client.infer(
            "raw_open", inputs(tritonclient.grpc), compression_algorithm=algorithm
        )
        np.testing.assert_array_equal(result.as_numpy("y"), X)


def body() -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": list(X.shape), "data": X.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


def ask(server: Server, path: str, data: bytes | None = None, **fields: str):
    request = urllib.request.Request(f"http://{server.address}{path}", data)
    for name, value in fields.items():
        request.add_header(name.replace("_", "-"), value)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers, answer.read()


def test_answers_say_how_they_are_compressed(server):
    _, plain = ask(server, PATH, body())
    for coding, inflate in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        headers, packed = ask(server, PATH, body(), Accept_Encoding=coding)
        assert headers["Content-Encoding"] == coding
        assert headers["Vary"] == "Accept-Encoding"
        assert int(headers["Content-Length"]) == len(packed) < len(plain)
        assert inflate(packed) == plain
    headers, _ = ask(server, PATH, body(), Accept_Encoding="gzip;q=0, br")
    assert headers["Content-Encoding"] is None


def test_metrics_are_compressed_for_prometheus(server):
    headers, packed = ask(server, "/metrics", Accept_Encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert b"fastserve_" in gzip.decompress(packed)


def test_many_members_are_one_body(server):
    data = body()
    packed = gzip.compress(data[:100]) + gzip.compress(data[100:])
    assert ask(server, PATH, packed, Content_Encoding="gzip")[1] == ask(server, PATH, data)[1]


def test_what_cannot_be_read_is_refused_and_bombs_are_stopped(server):
    for data, coding, status, said in (
        (body(), "gzip", 400, "the body is no gzip data"),
        (gzip.compress(body())[:-9], "gzip", 400, "the gzip data ends too soon"),
        (body(), "zstd", 415, "Content-Encoding 'zstd' is not available"),
        (gzip.compress(bytes(80 << 20), 1), "gzip", 413, "bytes"),
    ):
        answer = server.request("POST", PATH, data, {"Content-Encoding": coding})
        assert answer.status == status
        assert said in answer.json["error"]
