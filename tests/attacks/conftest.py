"""The server that is attacked, and what must be true after each module."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import kserve
from tests.attacks.shared_memory import Memory, register, unregister
from tests.models import make_models
from tests.served import Repository, Server

ECHO_BODY = json.dumps(
    {"id": "e", "inputs": [kserve.tensor("x", np.array([[1, 2, 3]], np.int32))]}
).encode()


def flood() -> bytes:
    """y = zeros of the length that is asked for: a small request, any size of answer."""
    made = make_models.model(
        [helper.make_node("ConstantOfShape", ["length"], ["y"], value=ZERO)],
        [make_models.tensor("length", [1], TensorProto.INT64)],
        [make_models.tensor("y", ["found"])],
    )
    content: bytes = made.SerializeToString(deterministic=True)
    return content


ZERO = numpy_helper.from_array(np.zeros(1, np.float32))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = Repository(tmp_path_factory.mktemp("attacks") / "models")
    types = ("bool", "bytes", "fp32", "int32", "int64", "uint8", "uint64")
    for name in (*(f"identity_{name}" for name in types), "add_mul"):
        models.add(name)
    models.add_made("flood", flood())
    models.add_identity("slow", delay_us=300_000)
    with Server(models.path, "--max-body", "1MiB") as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def healthy_afterwards() -> Iterator[None]:
    """Whatever a module sent, its servers live and hold nothing of it."""
    yield
    for running in Server.running:
        running.check_healthy()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For clients that share memory with it."""
    models = Repository(tmp_path_factory.mktemp("shared") / "models")
    for name, datatype in (("floats", "FP32"), ("ints", "INT64"), ("strings", "STRING")):
        models.add_identity(name, datatype=datatype, more="max_batch_size: 8")
    models.add_identity("slow", delay_us=300_000)
    models.add("add_mul")
    with Server(models.path, "--max-shared-regions", "200") as running:
        yield running


@pytest.fixture
def no_region_is_left(shared: Server) -> Iterator[None]:
    yield
    assert unregister(shared).status == 200
    assert shared.request("GET", "/v2/systemsharedmemory/status").json == []


@pytest.fixture
def memory(shared: Server, no_region_is_left: None) -> Iterator[Memory]:
    """64 KiB, registered as "r"."""
    with Memory(64 << 10) as made:
        assert register(shared, "r", made.key, 0, 64 << 10).status == 200
        yield made
