"""Health, metadata and configs, as tritonclient reads them."""

import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.conformance.conftest import ODD_NAME
from tests.served import Server


def test_health_is_good(client: tritonclient.http.InferenceServerClient, server: Server):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("add_mul")
    assert client.is_model_ready("add_mul", "1")
    assert not client.is_model_ready("add_mul", "2")
    assert not client.is_model_ready("nothing")
    assert server.request("GET", "/v2/models/add_mul/versions/2/ready").status == 404


def test_server_metadata_names_the_server_and_its_extensions(client):
    metadata = client.get_server_metadata()
    assert metadata["name"] == "fastserve"
    assert metadata["version"]
    assert "binary_tensor_data" in metadata["extensions"]
    assert "model_configuration" in metadata["extensions"]


def test_model_metadata_is_the_models_own_signature(client):
    metadata = client.get_model_metadata("add_mul")
    assert metadata["name"] == "add_mul"
    assert metadata["versions"] == ["1"]
    assert metadata["platform"]
    tensor = {"datatype": "FP32", "shape": [-1, 4]}
    assert metadata["inputs"] == [{"name": "a", **tensor}, {"name": "b", **tensor}]
    assert metadata["outputs"] == [{"name": "sum", **tensor}, {"name": "product", **tensor}]


@pytest.mark.parametrize(
    ("model", "inputs", "outputs"),
    [
        ("scalar", [("x", "FP32", [])], [("y", "FP32", [])]),
        ("no_batch", [("x", "FP32", [-1])], [("total", "FP32", [])]),
        ("nonzero", [("x", "FP32", [-1, 4])], [("positions", "INT64", [2, -1])]),
        ("identity_bytes", [("x", "BYTES", [-1, -1])], [("y", "BYTES", [-1, -1])]),
        ("identity_bf16", [("x", "BF16", [-1, -1])], [("y", "BF16", [-1, -1])]),
        ("one_string", [("x", "BYTES", [-1, 1])], [("y", "BYTES", [-1, 1])]),
        ("raw_row", [("x", "FP32", [-1, 2, -1])], [("y", "FP32", [-1, 2, -1])]),
    ],
)
def test_metadata_tells_types_and_shapes(client, model, inputs, outputs):
    metadata = client.get_model_metadata(model)
    keys = ("name", "datatype", "shape")
    assert [tuple(item[key] for key in keys) for item in metadata["inputs"]] == inputs
    assert [tuple(item[key] for key in keys) for item in metadata["outputs"]] == outputs


def test_metadata_lists_every_served_version(client):
    assert client.get_model_metadata("scaled")["versions"] == ["1", "3"]
    assert client.get_model_metadata("scaled", "1")["versions"] == ["1", "3"]
    assert client.get_model_metadata("latest")["versions"] == ["3"]


def test_config_says_how_the_model_is_served(client):
    config = client.get_model_config("add_mul")
    assert config["name"] == "add_mul"
    assert config["backend"] == "onnxruntime"
    assert config["max_batch_size"] == 32
    assert "dynamic_batching" in config
    assert [item["name"] for item in config["input"]] == ["a", "b"]
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert config["input"][0]["dims"] == [4]


@pytest.mark.parametrize("model", ["center_rows", "no_batch", "gather", "nonzero", "scalar"])
def test_models_whose_rows_depend_on_each_other_are_not_batched(client, model):
    config = client.get_model_config(model)
    assert config["max_batch_size"] == 0
    assert "dynamic_batching" not in config


def test_config_in_the_repository_is_honoured(client):
    assert client.get_model_config("small_batch")["max_batch_size"] == 8
    assert client.get_model_config("one_string")["input"][0]["data_type"] == "TYPE_STRING"


def test_names_are_percent_decoded(client):
    assert client.is_model_ready(ODD_NAME)
    assert client.get_model_metadata(ODD_NAME)["name"] == ODD_NAME
    assert client.get_model_config(ODD_NAME)["name"] == ODD_NAME


@pytest.mark.parametrize("ask", ["get_model_metadata", "get_model_config"])
@pytest.mark.parametrize(("model", "version"), [("nothing", ""), ("add_mul", "2")])
def test_what_is_not_there_is_404(client, ask, model, version):
    with pytest.raises(InferenceServerException) as caught:
        getattr(client, ask)(model, version)
    assert caught.value.status() == "404"
    assert f"'{model}'" in caught.value.message()


def test_a_version_that_is_no_number_is_refused(server):
    answer = server.request("GET", "/v2/models/add_mul/versions/newest")
    assert answer.status in (400, 404), answer
    assert "newest" in answer.error


@pytest.mark.parametrize(
    "path", ["/v3", "/v2/models", "/v2/models/", "/v2/models/add_mul/nothing", "/v2/nothing"]
)
def test_an_unknown_path_is_404(server, path):
    answer = server.request("GET", path)
    assert answer.status == 404, answer
    assert path in answer.error


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/models/add_mul/infer", "POST, OPTIONS"),
        ("DELETE", "/v2/models/add_mul/infer", "POST, OPTIONS"),
        ("POST", "/v2/models/add_mul", "GET"),
        ("PUT", "/v2/health/ready", "GET"),
        ("POST", "/metrics", "GET"),
    ],
)
def test_the_wrong_verb_is_405_and_says_which_is_right(server, method, path, allowed):
    answer = server.request(method, path, b"{}" if method in ("POST", "PUT") else None)
    assert answer.status == 405, answer
    assert allowed in answer.headers["allow"]
    assert method in answer.error


def test_head_is_answered_without_a_body(server):
    answer = server.request("HEAD", "/v2/health/live")
    assert answer.status == 200, answer
    assert answer.body == b""


def test_metrics_are_prometheus_text(server):
    answer = server.request("GET", "/metrics")
    assert answer.status == 200, answer
    assert answer.headers["content-type"].startswith("text/plain")
    assert server.metrics().sum("fastserve_model_ready", model="add_mul", version="1") == 1
