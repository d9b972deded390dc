"""Every RPC of one request and one answer, through tritonclient's gRPC clients."""

import asyncio
import re
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.utils import InferenceServerException

from tests import kserve
from tests.conformance import made
from tests.conformance.conftest import ODD_NAME
from tests.conformance.test_datatypes import DATATYPES, THROUGH_TRITONCLIENT, sample
from tests.served import Repository, Server

Client: Any = tritonclient.grpc.InferenceServerClient


@pytest.fixture(scope="module")
def grpc_client(server: Server) -> Iterator[Any]:
    with Client(server.address) as made_one:
        yield made_one


def floats(rows: int = 1, first: float = 1) -> Any:
    tensor = tritonclient.grpc.InferInput("x", [rows, 2], "FP32")
    tensor.set_data_from_numpy(np.full((rows, 2), first, np.float32))
    return tensor


@pytest.mark.parametrize("datatype", THROUGH_TRITONCLIENT)
def test_every_datatype_comes_back(grpc_client, datatype):
    data = sample(datatype)
    tensor = tritonclient.grpc.InferInput("x", data.shape, datatype)
    tensor.set_data_from_numpy(data)
    answer = grpc_client.infer(f"identity_{datatype.lower()}", [tensor], request_id="7")
    assert answer.get_response().id == "7"
    assert answer.get_response().model_version == "1"
    found = answer.as_numpy("y")
    assert found.dtype == data.dtype
    np.testing.assert_array_equal(found, data)


TYPED = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


@pytest.mark.parametrize("datatype", DATATYPES)
def test_typed_contents_are_read_and_answered_raw(server, datatype):
    """As clients do that were written for KServe's protocol alone."""
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    data = sample(datatype) if datatype != "BF16" else np.zeros((2, 3), np.float32)
    request = service_pb2.ModelInferRequest(model_name=f"identity_{datatype.lower()}")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=data.shape)
    with grpc.insecure_channel(server.address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        if datatype not in TYPED:
            tensor.contents.fp32_contents.extend([0.0] * 6)
            with pytest.raises(grpc.RpcError, match="come in raw_input_contents alone"):
                stub.ModelInfer(request)
            return
        getattr(tensor.contents, TYPED[datatype]).extend(data.ravel().tolist())
        answer = stub.ModelInfer(request)
    assert answer.outputs[0].shape == list(data.shape)
    raw = answer.raw_output_contents[0]
    if datatype == "BYTES":
        elements = data.ravel().tolist()
        assert raw == b"".join(len(e).to_bytes(4, "little") + e for e in elements)
    else:
        dtype = kserve.DTYPES[datatype]
        np.testing.assert_array_equal(np.frombuffer(raw, dtype).reshape(data.shape), data)


def test_shapes_without_elements_and_scalars(grpc_client):
    empty = tritonclient.grpc.InferInput("x", [0, 3], "FP32")
    empty.set_data_from_numpy(np.zeros((0, 3), np.float32))
    assert grpc_client.infer("identity_fp32", [empty]).as_numpy("y").shape == (0, 3)
    scalar = tritonclient.grpc.InferInput("x", [], "FP32")
    scalar.set_data_from_numpy(np.array(5, np.float32))
    assert grpc_client.infer("scalar", [scalar]).get_response().outputs[0].shape == []


def test_a_large_tensor_comes_back(grpc_client):
    data = np.random.default_rng(1).random((4, 500_000), np.float32)
    tensor = tritonclient.grpc.InferInput("x", data.shape, "FP32")
    tensor.set_data_from_numpy(data)
    answer = grpc_client.infer("identity_fp32", [tensor])
    np.testing.assert_array_equal(answer.as_numpy("y"), data)


def test_versions_and_odd_names(grpc_client):
    for version in ("1", "3"):
        answer = grpc_client.infer("scaled", [floats()], model_version=version)
        assert answer.as_numpy("y")[0, 0] == float(version)
    assert grpc_client.infer("scaled", [floats()], model_version="-1").as_numpy("y")[0, 0] == 3
    assert grpc_client.is_model_ready(ODD_NAME)


def test_outputs_that_are_asked_for(grpc_client):
    tensors = []
    for name in ("a", "b"):
        tensor = tritonclient.grpc.InferInput(name, [1, 4], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
        tensors.append(tensor)
    wanted = [tritonclient.grpc.InferRequestedOutput("product")]
    answer = grpc_client.infer("add_mul", tensors, outputs=wanted)
    assert [output.name for output in answer.get_response().outputs] == ["product"]


def test_rpcs_are_counted_by_code(server, grpc_client):
    found = []
    for _ in range(2):
        grpc_client.infer("latest", [floats()])
        with pytest.raises(InferenceServerException):
            grpc_client.infer("nothing", [floats()])
        found.append(server.metrics())
    before, after = found
    for code in ("OK", "NOT_FOUND"):
        name = "fastserve_grpc_responses_total"
        assert after.sum(name, code=code) == before.sum(name, code=code) + 1
    assert after.sum("fastserve_http2_connections_total") >= 1


def test_requests_at_once(grpc_client):
    """On one connection, from a callback's thread."""
    done = threading.Semaphore(0)
    wrong: list[Any] = []

    def check(expected, result, error):
        if error is not None or result.as_numpy("y")[0, 0] != expected:
            wrong.append((expected, error))
        done.release()

    for number in range(200):
        grpc_client.async_infer(
            "latest",
            [floats(first=number)],
            callback=lambda result, error, n=number: check(3 * n, result, error),
        )
    for _ in range(200):
        assert done.acquire(timeout=20)
    assert wrong == []


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("nothing", "NOT_FOUND", "there is no model 'nothing'"),
        ("add_mul", "INVALID_ARGUMENT", "unknown input 'x', expected 'a', 'b'"),
    ],
)
def test_what_is_wrong_is_said_with_its_code(grpc_client, model, code, message):
    with pytest.raises(InferenceServerException) as caught:
        grpc_client.infer(model, [floats()])
    assert caught.value.status() == f"StatusCode.{code}"
    assert message in caught.value.message()


def test_metadata_and_config(grpc_client, client):
    """What the client of HTTP reads, too."""
    assert grpc_client.is_server_live()
    assert grpc_client.is_server_ready()
    assert not grpc_client.is_model_ready("nothing")
    assert grpc_client.get_server_metadata(as_json=True) == client.get_server_metadata()
    over_grpc = grpc_client.get_model_metadata("add_mul", as_json=True)
    over_http = client.get_model_metadata("add_mul")
    assert over_grpc["platform"] == over_http["platform"]
    assert [one["name"] for one in over_grpc["inputs"]] == ["a", "b"]
    assert over_grpc["inputs"][0]["shape"] == ["-1", "4"]
    config = grpc_client.get_model_config("small_batch").config
    assert config.max_batch_size == 8
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 1024
    with pytest.raises(InferenceServerException, match="there is no model 'nothing'"):
        grpc_client.get_model_metadata("nothing")


def test_the_repository(tmp_path: Path):
    models = Repository(tmp_path / "models")
    models.add_made("m", made.scaled(1))
    models.add("add_mul")
    flags = ("--model-control", "explicit", "--load-model", "m")
    with Server(models.path, *flags, models=["m"]) as server, Client(server.address) as client:
        index = client.get_model_repository_index(as_json=True)["models"]
        assert index == [{"name": "add_mul"}, {"name": "m", "version": "1", "state": "READY"}]
        client.load_model("add_mul")
        assert client.is_model_ready("add_mul")
        client.unload_model("add_mul")
        assert not client.is_model_ready("add_mul")
        with pytest.raises(InferenceServerException, match="it is not loaded"):
            client.get_model_metadata("add_mul")
        with pytest.raises(InferenceServerException, match="there is no model 'later'"):
            client.load_model("later")
        # Files come as they are, where HTTP has base64.
        client.load_model("inline", config="{}", files={"file:1/model.onnx": made.scaled(7)})
        assert client.infer("inline", [floats()]).as_numpy("y")[0, 0] == 7


def test_a_deadline_fires_while_the_model_runs(tmp_path: Path):
    models = Repository(tmp_path / "models")
    models.add_identity("slow", delay_us=500_000)
    # What it costs is not known, or the request would be refused at once.
    with Server(models.path, "--warm-up-sizes", "none") as server, Client(server.address) as client:
        tensor = tritonclient.grpc.InferInput("x", [1], "FP32")
        tensor.set_data_from_numpy(np.ones(1, np.float32))
        with pytest.raises(InferenceServerException, match="while the model ran") as caught:
            client.infer("slow", [tensor], timeout=50_000)  # In microseconds.
        assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
        with pytest.raises(InferenceServerException):
            client.infer("slow", [tensor], client_timeout=0.05)
        assert client.infer("slow", [tensor]).as_numpy("y")[0] == 1


def test_ports_of_ones_own(tmp_path: Path):
    """Each port speaks all that is spoken, as a client of Triton has one for each."""
    models = Repository(tmp_path / "models")
    models.add_made("m", made.scaled(2))
    with Server(models.path, "--grpc-port", "0", "--metrics-port", "0", "--loops", "2") as server:
        found = re.findall(r"listening on http://(\S+)", server.log_text())
        assert len(set(found)) == 3
        assert server.address in found
        for address in found:
            with Client(address) as client:
                assert client.infer("m", [floats()]).as_numpy("y")[0, 0] == 2
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
                assert b"fastserve_" in answer.read()


def test_asyncio(server: Server):
    async def ask() -> list[float]:
        async with tritonclient.grpc.aio.InferenceServerClient(server.address) as client:
            assert await client.is_server_ready()
            asked = (client.infer("latest", [floats(first=n)]) for n in range(50))
            return [answer.as_numpy("y")[0, 0] for answer in await asyncio.gather(*asked)]

    assert asyncio.run(ask()) == [3.0 * n for n in range(50)]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_several_loops(repository: Path, kind: str):
    flags = ("--loops", "2", "--loop-kind", kind)
    with Server(repository, *flags) as server:
        for _ in range(8):  # Connections go to any loop.
            options = [("grpc.use_local_subchannel_pool", 1)]
            with Client(server.address, channel_args=options) as client:
                assert client.infer("latest", [floats()]).as_numpy("y")[0, 0] == 3
                assert client.get_server_metadata().name == "fastserve"
                with pytest.raises(InferenceServerException, match="there is no model 'nothing'"):
                    client.infer("nothing", [floats()])
