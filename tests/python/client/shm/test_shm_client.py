"""Inferences over shared memory that take and return arrays."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest

from fastserve.client.shm import InferResult, ShmClient, TensorMetadata
from tests.python.client.conftest import DATATYPES, LIMIT_S, MANY
from tests.python.client.shm.conftest import LATE, failure

X = np.arange(8, dtype=np.float32).reshape(2, 4)
LARGE = np.random.default_rng(0).random(200_000, dtype=np.float32)


def test_an_inference(client):
    result = client.infer("add_mul", {"a": X, "b": X}, id="7")
    assert isinstance(result, InferResult)
    assert set(result) == {"sum", "product"}
    np.testing.assert_array_equal(result["sum"], X + X)
    np.testing.assert_array_equal(result["product"], X * X)
    assert (result.model, result.version, result.id) == ("add_mul", "1", "7")
    assert result.parameters == {}
    result["sum"][0, 0] = 5  # It is the caller's.
    assert pickle.loads(pickle.dumps(result))["sum"][0, 0] == 5


def test_only_some_outputs(client):
    assert set(client.infer("add_mul", {"a": X, "b": X}, ["product"])) == {"product"}
    assert set(client.infer("add_mul", {"a": X, "b": X}, ["sum"], version=1)) == {"sum"}
    with pytest.raises(TypeError, match="expected names"):
        client.infer("add_mul", {"a": X, "b": X}, "sum")


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


def test_the_bits_of_bfloat16_may_be_given_as_they_are(client):
    bits = np.array([0x3F80, 0x4000], np.uint16)
    came = client.infer("BF16", {"x": bits})["y"]
    assert came.view(np.uint16).tolist() == bits.tolist()


def test_strings(client):
    for value in (["a", "é", ""], np.array(["a", "é", ""]), np.array(["a", "é", ""], object)):
        came = client.infer("strings", {"x": value})["y"]
        assert came.tolist() == [b"a", "é".encode(), b""]
    assert client.infer("strings", {"x": [b"\xff\x00"]})["y"].tolist() == [b"\xff\x00"]
    assert client.infer("strings", {"x": []})["y"].tolist() == []


def test_what_is_no_plain_array(client):
    for value in ([1, 2], (1, 2), np.array([1, 2], ">f4"), np.array([1, 0, 2, 0], "f4")[::2]):
        came = client.infer("FP32", {"x": value})["y"]
        assert came.dtype == np.float32
        assert came.tolist() == [1, 2]
    assert client.infer("INT64", {"x": [7]})["y"].dtype == np.int64
    np.testing.assert_array_equal(client.infer("FP32", {"x": LARGE})["y"], LARGE)
    assert client.infer("FP32", {"x": np.zeros(0, np.float32)})["y"].shape == (0,)


class Foreign:
    """An array of another package, which says what it is through DLPack alone."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **options: object) -> object:
        return self._array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def test_arrays_of_other_packages_and_raw_bytes(client):
    assert client.infer("fixed", {"x": Foreign(X[1])})["y"].tolist() == X[1].tolist()
    assert client.infer("fixed", {"x": X[1].tobytes()})["y"].tolist() == X[1].tolist()
    with client.request("fixed") as request:
        for _ in range(2):
            request.inputs["x"] = Foreign(X[1])
            assert request.result()["y"].tolist() == X[1].tolist()


def test_an_optional_input_may_be_left_out(client):
    # The server lets it pass; this model has nothing to say then.
    error = failure(lambda: client.infer("optional", {"x": X[0]}))
    assert "input 'more' is missing, and output 'and_more'" in error.message
    result = client.infer("optional", {"x": X[0], "more": [1, 2]})
    assert result["and_more"].tolist() == [1, 2]


def test_what_the_model_says_of_itself(client):
    said = client.model_metadata("rows")
    assert (said.name, said.versions, said.platform) == ("rows", ("1",), "")
    assert said.inputs == (TensorMetadata("x", "FP32", (-1, 3, 2)),)
    assert said.outputs == (TensorMetadata("y", "FP32", (-1, 3, 2)),)


@pytest.mark.parametrize(
    ("model", "inputs", "code", "words"),
    [
        ("nowhere", {}, "NOT_FOUND", "model 'nowhere'"),
        ("FP32", {"x": np.zeros(2)}, "INVALID_ARGUMENT", "float64, expected float32 (FP32)"),
        ("FP32", {"z": X}, "INVALID_ARGUMENT", "takes no input 'z', expected 'x'"),
        ("FP32", {"x": X}, "INVALID_ARGUMENT", "[2,4]"),
        ("FP32", {}, "INVALID_ARGUMENT", "'x'"),
        ("strings", {"x": [1]}, "INVALID_ARGUMENT", "expected str or bytes"),
    ],
)
def test_what_does_not_fit(client, model, inputs, code, words):
    error = failure(lambda: client.infer(model, inputs))
    assert error.code == code
    assert words in error.message.replace(", 4]", ",4]")
    assert error.server == f"@fastserve-{_port(client)}"


def _port(client: ShmClient) -> str:
    return repr(client).rpartition("-")[2].rstrip(">")


def test_an_output_or_version_that_there_is_not(client):
    assert failure(lambda: client.infer("FP32", {"x": X[0]}, ["z"])).code in (
        "INVALID_ARGUMENT",
        "NOT_FOUND",
    )
    assert failure(lambda: client.infer("FP32", {"x": X[0]}, version=9)).code == "NOT_FOUND"
    with pytest.raises(TypeError, match="expected names and values"):
        client.infer("FP32", X)


def test_a_deadline_reaches_the_server_and_ends_the_call(client):
    begun = time.monotonic()
    error = failure(lambda: client.infer("slow", {"x": X[0]}, timeout=0.05))
    assert error.code in LATE
    assert time.monotonic() - begun < 0.25
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="timeout: expected seconds above 0"):
            client.infer("slow", {"x": X[0]}, timeout=wrong)


def test_a_stream(client):
    results = list(client.stream("many", {"x": X[0]}, id="s"))
    assert len(results) == MANY
    assert all((one["y"] == X[0]).all() and one.id == "s" for one in results)
    assert list(client.stream("none", {"x": X[0]})) == []


def test_leaving_a_stream_early(client):
    for seen, _ in enumerate(client.stream("many", {"x": X[0]})):
        if seen == 3:
            break
    assert failure(lambda: list(client.stream("many", {"x": np.zeros(2)}))).code == (
        "INVALID_ARGUMENT"
    )


def test_a_model_without_a_response_is_no_inference(client):
    assert failure(lambda: client.infer("none", {"x": X[0]})).code in (
        "INTERNAL",
        "INVALID_ARGUMENT",
    )


def test_what_it_knows_of_its_connection(client, server):
    assert not client.is_connected
    assert (client.server_pid, client.segment_bytes, client.bytes_in_use) == (0, 0, 0)
    client.infer("FP32", {"x": X[0]})
    assert client.is_connected
    assert client.server_pid == server.pid
    assert client.segment_bytes == 4 << 20
    assert client.reconnects == 0


def test_memory_for_requests_is_limited(client):
    half = np.zeros(250_000, np.float32)  # Of what fits.
    kept = client.infer("FP32", {"x": half})  # The result is the input.
    error = failure(lambda: client.infer("FP32", {"x": half}))
    assert error.code == "RESOURCE_EXHAUSTED"
    assert "connect with a larger segment" in error.message
    del kept
    client.infer("FP32", {"x": half})


def test_arrays_outlive_their_client(server):
    with ShmClient(server.port) as client:
        kept = client.infer("add_mul", {"a": X, "b": X})["sum"]
        client.infer("add_mul", {"a": 9 * X, "b": X})
    np.testing.assert_array_equal(kept, X + X)
    kept[:] = 1


def test_a_client_that_is_closed_says_so(client):
    request = client.request("fixed")
    client.close()
    client.close()
    for call in (
        lambda: client.infer("fixed", {"x": X[0]}),
        lambda: client.request("fixed"),
        request.result,
        lambda: client.model_metadata("fixed"),
        lambda: client.wait_until_ready(timeout=1),
    ):
        error = failure(call)
        assert (error.code, error.message) == ("FAILED_PRECONDITION", "the client is closed")


def test_clients_stay_in_their_process(client):
    with pytest.raises(TypeError, match="make another one there"):
        pickle.dumps(client)
    with pytest.raises(TypeError, match="send arrays instead"):
        pickle.dumps(client.request("fixed"))


def test_the_clients_cpu_goes_to_requests_alone():
    """Importing the client loads neither the core nor numpy nor asyncio."""
    code = (
        "import sys, fastserve.client.shm as shm; assert 'ShmClient' in dir(shm);"
        "print([m for m in ('fastserve._core', 'numpy', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_nobody_listens(tmp_path):
    begun = time.monotonic()
    with ShmClient(str(tmp_path / "none"), timeout=LIMIT_S) as client:
        error = failure(lambda: client.infer("fixed", {"x": X[0]}))
        assert error.code == "UNAVAILABLE"
        assert error.is_retryable
        assert "with --shm-socket?" in error.message
        assert time.monotonic() - begun < 2
        error = failure(lambda: client.wait_until_ready(timeout=0.2))
        assert error.code == "DEADLINE_EXCEEDED"
        assert "the server was not ready within 0.2 s" in error.message


def test_it_waits_for_a_server_and_a_model(client):
    client.wait_until_ready()
    client.wait_until_ready("fixed")
    error = failure(lambda: client.wait_until_ready("nowhere", timeout=0.2))
    assert "model 'nowhere' was not ready" in error.message


def test_descriptors_are_given_back(server):
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    with ShmClient(server.port) as client:
        client.infer("fixed", {"x": X[0]})
        during = count()
    del client
    before = count()
    assert before < during
    for _ in range(20):
        with ShmClient(server.port) as client:
            client.infer("fixed", {"x": X[0]})
        del client
    assert count() == before
    dropped = ShmClient(server.port)
    request = dropped.request("fixed")
    request.inputs["x"][:] = 1
    result = request.result()
    del dropped, request  # Nothing has to be collected.
    assert count() > before
    del result
    assert count() == before
