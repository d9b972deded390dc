"""The classification extension, through Triton's clients: class_count, and label_filename."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.served import Repository, Server

X = np.array([[0.1, 3, 2], [9, 8, 7]], dtype=np.float32)
MODULES = [tritonclient.http, tritonclient.grpc]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = Repository(tmp_path_factory.mktemp("classes") / "models")
    models.add_identity("plain", dims="3", more="max_batch_size: 8")
    models.add_identity("half", datatype="FP16", dims="3", more="max_batch_size: 8")
    models.add_identity("labelled", dims="3", more="max_batch_size: 8")
    folder: Path = models.path / "labelled"
    config = folder / "config.pbtxt"
    text = config.read_text()
    labelled = text.replace('name: "y"', 'name: "y" label_filename: "names.txt"')
    config.write_text(labelled)
    (folder / "names.txt").write_text("cat\r\ndög: große\n", encoding="utf-8")
    with Server(models.path) as running:
        yield running


def classes(server: Server, module, model: str, count: int, x=X, **how):
    tensor = module.InferInput("x", list(x.shape), "FP32" if x.dtype == np.float32 else "FP16")
    tensor.set_data_from_numpy(x)
    wanted = module.InferRequestedOutput("y", class_count=count, **how)
    with module.InferenceServerClient(server.address) as client:
        return client.infer(model, [tensor], outputs=[wanted]).as_numpy("y")


@pytest.mark.parametrize("module", MODULES)
def test_the_largest_of_each_row(server, module):
    said = classes(server, module, "plain", 2)
    assert said.tolist() == [[b"3:1", b"2:2"], [b"9:0", b"8:1"]]
    assert classes(server, module, "plain", 99, X[:1]).tolist() == [[b"3:1", b"2:2", b"0.1:0"]]


def test_as_json(server):
    said = classes(server, tritonclient.http, "plain", 1, binary_data=False)
    assert said.tolist() == [["3:1"], ["9:0"]]


@pytest.mark.parametrize("module", MODULES)
def test_labels(server, module):
    said = classes(server, module, "labelled", 3)
    assert [text.decode() for text in said[0]] == ["3:1:dög: große", "2:2", "0.1:0:cat"]
    config = server.request("GET", "/v2/models/labelled/config").json
    assert config["output"][0]["label_filename"] == "names.txt"


@pytest.mark.parametrize("module", MODULES)
def test_types_without_an_order_are_refused(server, module):
    with pytest.raises(InferenceServerException, match="classification needs integers, FP32"):
        classes(server, module, "half", 1, X.astype(np.float16))
