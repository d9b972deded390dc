"""KServe's system shared-memory extension, through tritonclient and its utilities, unchanged."""

import base64
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, serialize_byte_tensor
from tritonclient.utils import shared_memory as shm

from tests.conformance import made
from tests.served import Repository, Server

DTYPES = [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int32, np.int64, np.uint64]
TYPES = {np.dtype(t): n for t, n in zip(
    DTYPES, ["FP16", "FP32", "FP64", "INT8", "UINT8", "INT32", "INT64", "UINT64"], strict=True
)}  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = Repository(tmp_path_factory.mktemp("shared") / "models")
    for datatype in TYPES.values():
        models.add_identity(datatype, datatype=datatype, dims="-1", more="max_batch_size: 8")
    models.add_identity("strings", datatype="STRING", dims="-1", more="max_batch_size: 8")
    models.add("add_mul")
    models.add_made("scaled", made.scaled(3), config="max_batch_size: 4096")
    models.add_identity(
        "twice",
        more='parameters { key: "repeat" value { string_value: "2" } }'
        " model_transaction_policy { decoupled: true }",
    )
    with Server(models.path) as server:
        yield server


@pytest.fixture(params=["http", "grpc"])
def triton(request: pytest.FixtureRequest) -> Any:
    return {"http": tritonclient.http, "grpc": tritonclient.grpc}[request.param]


@pytest.fixture
def client(triton: Any, served: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(served.address) as made_one:
        made_one.unregister_system_shared_memory()
        yield made_one
        made_one.unregister_system_shared_memory()


@pytest.fixture
def region(client: Any) -> Iterator[Any]:
    """Makes an object, registers all of it, and takes it away in the end."""
    handles: list[Any] = []

    def make(name: str, size: int) -> Any:
        key = f"/fastserve-test-{uuid.uuid4().hex}"
        handles.append(shm.create_shared_memory_region(name, key, size))
        client.register_system_shared_memory(name, key, size)
        return handles[-1]

    yield make
    for handle in handles:
        shm.destroy_shared_memory_region(handle)


def shared_input(triton, name, array, region_name, size, offset=0, datatype=None):
    tensor = triton.InferInput(name, list(array.shape), datatype or TYPES[array.dtype])
    tensor.set_shared_memory(region_name, size, offset)
    return tensor


def shared_output(triton, name, region_name, size, offset=0):
    output = triton.InferRequestedOutput(name)
    output.set_shared_memory(region_name, size, offset)
    return output


def outputs_of(result):
    """(shape, parameters) by name, and how many bytes came beside the region."""
    response = result.get_response()
    if isinstance(response, dict):
        found = {
            output["name"]: (output["shape"], output["parameters"])
            for output in response["outputs"]
        }
        assert all("data" not in output for output in response["outputs"])
        return found
    assert all(raw == b"" for raw in response.raw_output_contents)
    assert len(response.raw_output_contents) == len(response.outputs)
    return {
        output.name: (
            list(output.shape),
            {
                key: getattr(value, value.WhichOneof("parameter_choice"))
                for key, value in output.parameters.items()
            },
        )
        for output in response.outputs
    }


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: TYPES[np.dtype(dtype)])
def test_numbers_go_in_and_come_back(triton, client, region, dtype):
    sent = np.arange(1, 1 + 3000).reshape(1, 3000).astype(dtype)
    handle = region("both", 2 * sent.nbytes)
    shm.set_shared_memory_region(handle, [sent])
    result = client.infer(
        TYPES[sent.dtype],
        [shared_input(triton, "x", sent, "both", sent.nbytes)],
        outputs=[shared_output(triton, "y", "both", sent.nbytes, sent.nbytes)],
    )
    shape, parameters = outputs_of(result)["y"]
    assert shape == [1, 3000]
    assert parameters == {
        "shared_memory_region": "both",
        "shared_memory_byte_size": sent.nbytes,
        "shared_memory_offset": sent.nbytes,
    }
    came = shm.get_contents_as_numpy(handle, dtype, [1, 3000], sent.nbytes)
    np.testing.assert_array_equal(came, sent)


def test_strings_go_in_and_come_back(triton, client, region):
    sent = np.array([[b"", b"one", "grüße".encode(), b"\0\0", b"x" * 1000]], np.object_)
    raw = serialize_byte_tensor(sent)
    size = len(raw.item())
    handle, answer = region("in", size), region("out", size + 100)
    shm.set_shared_memory_region(handle, [raw])
    result = client.infer(
        "strings",
        [shared_input(triton, "x", sent, "in", size, datatype="BYTES")],
        outputs=[shared_output(triton, "y", "out", size + 100)],
    )
    shape, parameters = outputs_of(result)["y"]
    assert (shape, parameters["shared_memory_byte_size"]) == ([1, 5], size)
    np.testing.assert_array_equal(shm.get_contents_as_numpy(answer, np.object_, [1, 5]), sent)


def test_many_tensors_share_a_region(triton, client, region):
    a, b = (np.array([[1, 2, 3, 4]], np.float32) * factor for factor in (1, 10))
    handle = region("all", 4 * a.nbytes)
    shm.set_shared_memory_region(handle, [a, b])
    client.infer(
        "add_mul",
        [
            shared_input(triton, "a", a, "all", a.nbytes),
            shared_input(triton, "b", b, "all", b.nbytes, a.nbytes),
        ],
        outputs=[
            shared_output(triton, "sum", "all", a.nbytes, 2 * a.nbytes),
            shared_output(triton, "product", "all", a.nbytes, 3 * a.nbytes),
        ],
    )
    came = shm.get_contents_as_numpy(handle, np.float32, [4, 4])
    np.testing.assert_array_equal(came, np.concatenate([a, b, a + b, a * b]))


def test_some_tensors_are_in_the_message(triton, client, region):
    a, b = (np.array([[1, 2, 3, 4]], np.float32) * factor for factor in (1, 10))
    handle = region("one", 2 * a.nbytes)
    shm.set_shared_memory_region(handle, [b])
    plain = triton.InferInput("a", [1, 4], "FP32")
    plain.set_data_from_numpy(a)
    result = client.infer(
        "add_mul",
        [plain, shared_input(triton, "b", b, "one", b.nbytes)],
        outputs=[
            shared_output(triton, "sum", "one", a.nbytes, a.nbytes),
            triton.InferRequestedOutput("product"),
        ],
    )
    np.testing.assert_array_equal(result.as_numpy("product"), a * b)
    np.testing.assert_array_equal(
        shm.get_contents_as_numpy(handle, np.float32, [1, 4], a.nbytes), a + b
    )


def test_an_engine_computes_into_the_region(triton, client, region):
    sent = np.arange(8192, dtype=np.float32).reshape(4096, 2)
    handle = region("large", 2 * sent.nbytes)
    for _ in range(20):
        shm.set_shared_memory_region(handle, [sent])
        client.infer(
            "scaled",
            [shared_input(triton, "x", sent, "large", sent.nbytes)],
            outputs=[shared_output(triton, "y", "large", sent.nbytes, sent.nbytes)],
        )
        came = shm.get_contents_as_numpy(handle, np.float32, sent.shape, sent.nbytes)
        np.testing.assert_array_equal(came, 3 * sent)
        sent = sent + 1


def test_an_output_may_take_the_place_of_its_input(triton, client, region):
    sent = np.arange(8192, dtype=np.float32).reshape(4096, 2)
    handle = region("place", sent.nbytes)
    shm.set_shared_memory_region(handle, [sent])
    client.infer(
        "scaled",
        [shared_input(triton, "x", sent, "place", sent.nbytes)],
        outputs=[shared_output(triton, "y", "place", sent.nbytes)],
    )
    came = shm.get_contents_as_numpy(handle, np.float32, sent.shape)
    np.testing.assert_array_equal(came, 3 * sent)


def test_each_response_of_a_stream_is_written(served, region):
    sent = np.arange(5, dtype=np.float32)
    with tritonclient.grpc.InferenceServerClient(served.address) as client:
        key = f"/fastserve-test-{uuid.uuid4().hex}"
        handle = shm.create_shared_memory_region("stream", key, 2 * sent.nbytes)
        try:
            client.register_system_shared_memory("stream", key, 2 * sent.nbytes)
            shm.set_shared_memory_region(handle, [sent])
            answers: list[Any] = []
            client.start_stream(lambda result, error: answers.append(error or result))
            client.async_stream_infer(
                "twice",
                [shared_input(tritonclient.grpc, "x", sent, "stream", sent.nbytes)],
                outputs=[shared_output(tritonclient.grpc, "y", "stream", sent.nbytes, sent.nbytes)],
            )
            client.stop_stream()
            assert [outputs_of(answer)["y"][0] for answer in answers] == [[5], [5]]
            came = shm.get_contents_as_numpy(handle, np.float32, [5], sent.nbytes)
            np.testing.assert_array_equal(came, sent)
            client.unregister_system_shared_memory("stream")
        finally:
            shm.destroy_shared_memory_region(handle)


# -- Registration ----------------------------------------------------------------------------------


def status_of(client: Any, name: str = "") -> dict[str, dict[str, Any]]:
    status = client.get_system_shared_memory_status(name)
    regions = status if isinstance(status, list) else status.regions.values()
    keys = ("name", "key", "offset", "byte_size")
    shown = [
        one if isinstance(one, dict) else {key: getattr(one, key) for key in keys}
        for one in regions
    ]
    return {one["name"]: one for one in sorted(shown, key=lambda one: str(one["name"]))}


def test_the_status_names_what_is_registered(client, region):
    region("b", 4096), region("a", 100)
    found = status_of(client)
    assert list(found) == ["a", "b"]
    assert found["b"]["key"].startswith("/fastserve-test-")
    assert (found["b"]["offset"], found["b"]["byte_size"]) == (0, 4096)
    assert list(status_of(client, "a")) == ["a"]
    client.unregister_system_shared_memory("a")
    assert list(status_of(client)) == ["b"]
    client.unregister_system_shared_memory("a")  # As Triton: what is gone is no error.
    with pytest.raises(InferenceServerException, match="no shared-memory region 'a'"):
        status_of(client, "a")
    client.unregister_system_shared_memory()
    assert not status_of(client)


def test_a_name_is_registered_once(triton, client, region):
    handle = region("once", 64)
    with pytest.raises(InferenceServerException, match="once") as refused:
        client.register_system_shared_memory("once", handle._shm_key, 64)
    expected = {"http": ("400", "HTTP 400"), "grpc": ("StatusCode.ALREADY_EXISTS",)}
    kind = "http" if triton is tritonclient.http else "grpc"
    assert refused.value.status() in expected[kind]


def test_a_part_of_an_object_is_registered(triton, client):
    key = f"/fastserve-test-{uuid.uuid4().hex}"
    handle = shm.create_shared_memory_region("part", key, 1000)
    try:
        client.register_system_shared_memory("part", key, 900, 100)
        sent = np.arange(10, dtype=np.float32).reshape(1, 10)
        shm.set_shared_memory_region(handle, [sent], 100)
        result = client.infer("FP32", [shared_input(triton, "x", sent, "part", sent.nbytes)])
        np.testing.assert_array_equal(result.as_numpy("y"), sent)
        with pytest.raises(InferenceServerException, match="1000"):
            client.register_system_shared_memory("more", key, 901, 100)
    finally:
        shm.destroy_shared_memory_region(handle)


def test_a_name_may_have_any_characters(triton, client, region):
    name = "50% ümlaut?#& b"
    sent = np.arange(4, dtype=np.float32).reshape(1, 4)
    handle = region(name, sent.nbytes)
    shm.set_shared_memory_region(handle, [sent])
    result = client.infer("FP32", [shared_input(triton, "x", sent, name, sent.nbytes)])
    np.testing.assert_array_equal(result.as_numpy("y"), sent)
    assert list(status_of(client, name)) == [name]


def test_cuda_memory_is_refused_with_the_reason(triton, client, region):
    region("taken", 64)
    assert not (
        client.get_cuda_shared_memory_status()
        if triton is tritonclient.http
        else client.get_cuda_shared_memory_status().regions
    )
    client.unregister_cuda_shared_memory("x")
    handle = base64.b64encode(bytes(64))
    with pytest.raises(InferenceServerException, match="no CUDA device"):
        client.register_cuda_shared_memory("x", handle, 0, 64)
    with pytest.raises(InferenceServerException, match="64 bytes"):
        client.register_cuda_shared_memory("x", base64.b64encode(bytes(63)), 0, 64)
    with pytest.raises(InferenceServerException, match="'taken' already"):
        client.register_cuda_shared_memory("taken", handle, 0, 64)


def test_the_server_says_that_it_has_it(client):
    metadata = client.get_server_metadata()
    extensions = metadata["extensions"] if isinstance(metadata, dict) else metadata.extensions
    assert "system_shared_memory" in extensions


# -- Where it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_every_loop_has_the_region(triton, tmp_path: Path, kind):
    models = Repository(tmp_path / "models")
    models.add_identity("FP32", more="max_batch_size: 8")
    sent = np.arange(4, dtype=np.float32).reshape(1, 4)
    key = f"/fastserve-test-{uuid.uuid4().hex}"
    handle = shm.create_shared_memory_region("r", key, sent.nbytes)
    try:
        with (
            Server(models.path, "--loops", "3", "--loop-kind", kind) as server,
            triton.InferenceServerClient(server.address) as client,
        ):
            client.register_system_shared_memory("r", key, sent.nbytes)
            shm.set_shared_memory_region(handle, [sent])
            tensor = shared_input(triton, "x", sent, "r", sent.nbytes)
            for _ in range(12):  # Connections of their own, spread over the loops.
                with triton.InferenceServerClient(server.address) as another:
                    result = another.infer("FP32", [tensor])
                    np.testing.assert_array_equal(result.as_numpy("y"), sent)
            client.unregister_system_shared_memory()
            for _ in range(6):
                with (
                    triton.InferenceServerClient(server.address) as another,
                    pytest.raises(InferenceServerException, match="no shared-memory"),
                ):
                    another.infer("FP32", [tensor])
    finally:
        shm.destroy_shared_memory_region(handle)


def test_nobody_shares_memory_where_it_is_off(triton, tmp_path: Path):
    models = Repository(tmp_path / "models")
    models.add_identity("FP32", more="max_batch_size: 8")
    sent = np.arange(4, dtype=np.float32).reshape(1, 4)
    with (
        Server(models.path, "--allow-client-shm", "false") as server,
        triton.InferenceServerClient(server.address) as client,
    ):
        with pytest.raises(InferenceServerException, match="--shared-memory local"):
            client.register_system_shared_memory("r", "/r", 16)
        with pytest.raises(InferenceServerException, match="--shared-memory local"):
            client.get_system_shared_memory_status()
        with pytest.raises(InferenceServerException, match="--shared-memory local"):
            client.infer("FP32", [shared_input(triton, "x", sent, "r", 16)])
