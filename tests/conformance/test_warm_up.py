"""Samples that run before a version serves: what a server and its clients see of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.conformance import made
from tests.served import Repository, Server

CONFIG = """
max_batch_size: 4
model_warmup {
  name: "wild" batch_size: 2
  inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 random_data: true } }
  inputs { key: "index" value { data_type: TYPE_INT64 dims: 1 input_data_file: "index" } }
}
"""


def put_index(model: Path, value: int) -> None:
    (model / "warmup").mkdir(exist_ok=True)
    (model / "warmup" / "index").write_bytes(np.array([value], np.int64).tobytes())


@pytest.fixture(
    params=[(), ("--loops", "2"), ("--loops", "2", "--loop-kind", "thread")],
    ids=["one", "processes", "threads"],
)
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Server, Path]]:
    models = Repository(tmp_path / "models")
    models.add_made("pick", made.pick(), config=CONFIG)
    put_index(models.path / "pick", 3)
    flags = ("--model-control", "explicit", "--load-model", "pick", *request.param)
    with Server(models.path, *flags, models=["pick"]) as server:
        yield server, models.path / "pick"


def ask(server: Server) -> str:
    """The version that answers, with the fourth of four numbers."""
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [5, 6, 7, 8]},
        {"name": "index", "datatype": "INT64", "shape": [1, 1], "data": [3]},
    ]
    answer = server.post("pick", {"inputs": inputs})
    assert answer.status == 200, answer
    assert answer.json["outputs"][0]["data"] == [8]
    version: str = answer.json["model_version"]
    return version


def test_a_version_whose_sample_does_not_run_leaves_the_old_one(served):
    server, model = served
    assert ask(server) == "1"
    put_index(model, 9)
    shutil.copytree(model / "1", model / ".2")
    (model / ".2").rename(model / "2")
    with tritonclient.http.InferenceServerClient(server.address) as client:
        why = r"pick/config.pbtxt:3: model_warmup\[0\]: sample 'wild' does not run: .*index"
        with pytest.raises(InferenceServerException, match=why):
            client.load_model("pick")
        assert ask(server) == "1"
        # Once the sample is right the version is.
        put_index(model, 0)
        client.load_model("pick")
    assert ask(server) == "2"


# A sample is no request: nobody asked for it, and nobody is to be told how long it took.
def test_samples_are_in_no_metric(served):
    server, _ = served
    metrics = server.metrics()
    assert metrics.sum("fastserve_executions_total", model="pick") == 0
