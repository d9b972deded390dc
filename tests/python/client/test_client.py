"""Calls to a real server, over HTTP and gRPC, blocking and not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from fastserve.client import CallError, Client, InferResult, RequestSequence, TensorMetadata
from tests.python.client.conftest import DATATYPES, LIMIT_S, MANY
from tests.served import Server

X = np.arange(8, dtype=np.float32).reshape(2, 4)
LARGE = np.random.default_rng(0).random(200_000, dtype=np.float32)


def failure(call: Callable[[], Any]) -> CallError:
    with pytest.raises(CallError) as caught:
        call()
    return caught.value


def test_an_inference(client):
    result = client.infer("add_mul", {"a": X, "b": X}, id="7")
    assert isinstance(result, InferResult)
    assert set(result) == {"sum", "product"}
    assert len(result) == 2
    np.testing.assert_array_equal(result["sum"], X + X)
    np.testing.assert_array_equal(result["product"], X * X)
    assert (result.model, result.version, result.id) == ("add_mul", "1", "7")
    result["sum"][0, 0] = 5  # It is the caller's.
    assert "add_mul, version 1" in repr(result)


def test_only_some_outputs(client):
    assert set(client.infer("add_mul", {"a": X, "b": X}, ["product"])) == {"product"}
    assert client.infer("add_mul", {"a": X, "b": X}, ["sum"], version="1")["sum"].shape == (2, 4)


def test_the_best_classes(client):
    best = client.infer("FP32", {"x": np.array([1, 5, 3], np.float32)}, classes={"y": 2})["y"]
    assert [bytes(one).split(b":")[1] for one in best.ravel()] == [b"1", b"2"]


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_comes_back_as_it_went(client, datatype):
    dtype = {"BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64"}.get(
        datatype, datatype.lower()
    )
    if datatype == "BF16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    sent = np.array([0, 1, 1, 0, 1], dtype)
    came = client.infer(datatype, {"x": sent})["y"]
    assert came.dtype == sent.dtype
    np.testing.assert_array_equal(came, sent)


def test_strings(client):
    for value in (["a", "é", ""], np.array(["a", "é", ""]), np.array(["a", "é", ""], object)):
        came = client.infer("strings", {"x": value})["y"]
        assert came.tolist() == [b"a", "é".encode(), b""]
    assert client.infer("strings", {"x": [b"\xff\x00"]})["y"].tolist() == [b"\xff\x00"]


def test_what_is_no_plain_array(client):
    np.testing.assert_array_equal(client.infer("INT64", {"x": [1, 2]})["y"], [1, 2])
    np.testing.assert_array_equal(client.infer("FP64", {"x": [0.5]})["y"], [0.5])
    np.testing.assert_array_equal(client.infer("FP32", {"x": LARGE[::2]})["y"], LARGE[::2])
    swapped = np.array([1, 2], ">i4")
    np.testing.assert_array_equal(client.infer("INT32", {"x": swapped})["y"], [1, 2])
    empty = client.infer("FP32", {"x": np.zeros(0, np.float32)})["y"]
    assert empty.shape == (0,)


class Capsule:
    """Nothing but a __dlpack__, as tensors of other frameworks have it."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def test_dlpack(client):
    for array in (LARGE, LARGE[::3]):
        np.testing.assert_array_equal(client.infer("FP32", {"x": Capsule(array)})["y"], array)
    integers = np.arange(9)[::2]
    np.testing.assert_array_equal(client.infer("INT64", {"x": Capsule(integers)})["y"], integers)


def test_large_tensors(client):
    for _ in range(3):
        np.testing.assert_array_equal(client.infer("FP32", {"x": LARGE})["y"], LARGE)


def test_errors_are_the_servers(client, server):
    error = failure(lambda: client.infer("add_mul", {"a": X.astype(int), "b": X}))
    assert (error.code, error.is_answer) == ("INVALID_ARGUMENT", True)
    assert "expected FP32" in error.message
    assert error.server.endswith(server.address)
    assert failure(lambda: client.infer("nope", {"a": X})).code == "NOT_FOUND"
    assert failure(lambda: client.infer("add_mul", {"a": X, "b": X}, version=9)).code == "NOT_FOUND"
    assert failure(lambda: client.model_metadata("nope")).code == "NOT_FOUND"
    # The connection is as good as before.
    assert client.is_live()


def test_what_cannot_be_sent(client):
    date = np.array(["2020-01-01"], "datetime64[D]")
    assert "which no model takes" in failure(lambda: client.infer("FP32", {"x": date})).message
    bad = failure(lambda: client.infer("FP32", {"x": X}, parameters={"p": [1]}))
    assert "parameter 'p': expected a bool" in bad.message
    too_large = failure(lambda: client.infer("FP32", {"x": X}, parameters={"p": 1 << 70}))
    assert "64 bits" in too_large.message
    with pytest.raises(TypeError, match=r"outputs: expected names, e\.g\. \['y'\]"):
        client.infer("FP32", {"x": X}, "y")
    with pytest.raises(TypeError, match="inputs: expected names and values"):
        client.infer("FP32", X)
    with pytest.raises(ValueError, match="timeout"):
        client.infer("FP32", {"x": X}, timeout=0)
    nobody = failure(lambda: client.infer("FP32", {"x": X}, sequence=RequestSequence(0)))
    assert nobody.code == "INVALID_ARGUMENT"


def test_parameters_priority_and_sequences_are_taken(client):
    result = client.infer(
        "FP32",
        {"x": X[0]},
        parameters={"a": True, "b": 5, "c": 0.5, "d": "e", "f": 1 << 63},
        priority=1,
        sequence=RequestSequence(7, start=True, end=True),
    )
    np.testing.assert_array_equal(result["y"], X[0])
    client.infer("FP32", {"x": X[0]}, sequence=RequestSequence("s", start=True))


def test_a_timeout_of_days_is_none_that_a_server_refuses(client):
    assert client.infer("FP32", {"x": X[0]}, timeout=1e7)["y"].shape == (4,)


def test_a_timeout_ends_a_call_and_nothing_else(client, server):
    error = failure(lambda: client.infer("slow", {"x": X[0]}, timeout=0.05))
    # A server that knows how long it takes does not begin.
    assert error.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
    np.testing.assert_array_equal(client.infer("FP32", {"x": X[0]})["y"], X[0])
    server.check_healthy()


def test_the_server_and_its_models(client):
    assert client.is_live()
    assert client.is_ready()
    assert client.is_model_ready("add_mul")
    assert client.is_model_ready("add_mul", 1)
    assert not client.is_model_ready("add_mul", 9)
    assert not client.is_model_ready("nope")
    assert client.server_metadata().name == "fastserve"
    metadata = client.model_metadata("add_mul")
    assert metadata.inputs[0] == TensorMetadata("a", "FP32", (-1, 4))
    assert [tensor.name for tensor in metadata.outputs] == ["sum", "product"]
    assert client.model_config("FP32")["name"] == "FP32"
    assert client.model_config("FP32")["input"][0]["dims"] == [-1]
    client.infer("INT8", {"x": np.zeros(1, np.int8)})
    [counted] = client.statistics("INT8")
    assert int(counted["inference_stats"]["success"]["count"]) > 0
    assert len(client.statistics()) > 5
    assert {(one.name, one.state) for one in client.models()} >= {("add_mul", "READY")}
    client.wait_until_ready()
    client.wait_until_ready("add_mul")


def test_waiting_says_what_was_missing(client):
    error = failure(lambda: client.wait_until_ready("nope", timeout=0.2))
    assert error.code == "DEADLINE_EXCEEDED"
    assert "model 'nope' was not ready within 0.2 s" in error.message


def test_streams(kind, server):
    with closing(kind(f"grpc://{server.address}")) as client:
        results = list(client.stream("many", {"x": X[0]}))
        assert len(results) == MANY
        for result in results:
            np.testing.assert_array_equal(result["y"], X[0])
        assert list(client.stream("none", {"x": X[0]})) == []
        assert failure(lambda: list(client.stream("nope", {"x": X[0]}))).code == "NOT_FOUND"
        np.testing.assert_array_equal(client.infer("FP32", {"x": X[0]})["y"], X[0])
    with closing(kind(f"http://{server.address}")) as client:
        error = failure(lambda: list(client.stream("many", {"x": X[0]})))
        assert error.code == "UNIMPLEMENTED"
        assert f"grpc://{server.address}" in error.message


def test_numbers_as_json(kind, server):
    with closing(kind(f"http://{server.address}", binary=False)) as client:
        np.testing.assert_array_equal(client.infer("FP32", {"x": X[0]})["y"], X[0])
        assert client.infer("strings", {"x": ["é"]})["y"].tolist() == ["é".encode()]
        error = failure(lambda: client.infer("FP16", {"x": X[0].astype(np.float16)}))
        assert error.code == "INVALID_ARGUMENT"


def test_a_unix_socket(kind, scheme, server):
    with closing(kind(f"{scheme}+unix:{server.unix}")) as client:
        np.testing.assert_array_equal(client.infer("FP32", {"x": LARGE})["y"], LARGE)


def test_headers(kind, scheme, server):
    with closing(kind(f"{scheme}://{server.address}", headers={"X-Who": "me"})) as client:
        assert client.is_live()
    with closing(kind(f"{scheme}://{server.address}", headers={"x": "a\r\nb: c"})) as client:
        assert failure(client.is_live).code == "INVALID_ARGUMENT"


def test_an_answer_that_is_too_large(kind, scheme, server):
    with closing(kind(f"{scheme}://{server.address}", answer_bytes_max=1000)) as client:
        error = failure(lambda: client.infer("FP32", {"x": LARGE}))
        assert (error.code, error.is_answer) == ("RESOURCE_EXHAUSTED", False)
        np.testing.assert_array_equal(client.infer("FP32", {"x": X[0]})["y"], X[0])


def test_many_threads_at_once(kind, scheme, server):
    with closing(kind(f"{scheme}://{server.address}", connections_max=3)) as client:

        def ask(number: int) -> bool:
            sent = np.full(16, number, np.int64)
            return bool((client.infer("INT64", {"x": sent})["y"] == sent).all())

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(400)))


def test_a_child_of_a_fork_has_connections_of_its_own(scheme, server: Server):
    code = f"""
import os, numpy as np
from fastserve.client import Client
x = np.arange(4, dtype=np.float32)
client = Client("{scheme}://{server.address}")
ask = lambda: (client.infer("FP32", {{"x": x}})["y"] == x).all()
assert ask()
child = os.fork()
for _ in range(200):
    assert ask()
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
client.close()
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=LIMIT_S, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_it_says_what_it_is(server):
    with Client(["http://a:1", f"grpc://{server.address}"]) as client:
        assert repr(client) == f"<fastserve.client.Client of http://a:1, grpc://{server.address}>"


def test_importing_it_is_quick():
    code = "import fastserve.client, sys; print([m in sys.modules for m in ('numpy', 'ssl')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[False, False]"
