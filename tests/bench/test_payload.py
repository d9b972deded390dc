"""The requests that the harness sends."""

import array
import json

import pytest

from bench.serve import payload
from fastserve.rpc import descriptors


def test_a_binary_request_says_where_its_json_ends():
    data = payload.floats(16, seed=1)
    request = payload.binary_request("m", "INPUT0", [16], data)
    length = int(dict(request.headers)["Inference-Header-Content-Length"])
    described, tail = payload.binary_answer(request.body, length)
    assert tail == data
    assert described["inputs"][0]["parameters"] == {"binary_data_size": 64}
    assert request.path == "/v2/models/m/infer"


def test_a_shape_that_does_not_fit_its_bytes_is_refused():
    with pytest.raises(ValueError, match="needs 64 bytes, got 60"):
        payload.binary_request("m", "INPUT0", [16], b"\0" * 60)


# The text must carry the exact fp32 values, or the check of the answer would blame the server.
def test_a_json_request_reads_back_as_the_same_floats():
    data = payload.floats(100, seed=2)
    values = json.loads(payload.json_request("m", "i", [100], data).body)["inputs"][0]["data"]
    assert array.array("f", values).tobytes() == data


def test_an_encoded_request_announces_its_body():
    encoded = payload.Request("/p", (("A", "b"),), b"xyz").encoded()
    head = b"POST /p HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\r\nContent-Length: 3\r\n\r\n"
    assert encoded == head + b"xyz"


def test_floats_repeat_for_a_seed_and_differ_between_seeds():
    assert payload.floats(8, seed=1) == payload.floats(8, seed=1)
    assert payload.floats(8, seed=1) != payload.floats(8, seed=2)


def test_a_model_is_laid_out_as_triton_lays_it_out(tmp_path):
    payload.write_model(tmp_path, "mlp", payload.mlp_config(), b"onnx")
    assert (tmp_path / "mlp" / "1" / "model.onnx").read_bytes() == b"onnx"
    assert "max_queue_delay_microseconds: 0" in (tmp_path / "mlp" / "config.pbtxt").read_text()


def test_a_model_without_configuration_gets_none(tmp_path):
    payload.write_model(tmp_path, "digits", None, b"onnx")
    assert not (tmp_path / "digits" / "config.pbtxt").exists()


def test_messages_of_grpc_are_those_of_the_protocol():
    data = payload.floats(300, seed=1)
    request = descriptors.message_class("inference.ModelInferRequest")()
    encoded = payload.grpc_request("m", "INPUT0", 300, data)
    assert encoded[0] == 0
    assert int.from_bytes(encoded[1:5], "big") == len(encoded) - 5
    request.ParseFromString(encoded[5:])
    assert request.model_name == "m"
    (tensor,) = request.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("INPUT0", "FP32", [300])
    assert list(request.raw_input_contents) == [data]
    response = descriptors.message_class("inference.ModelInferResponse")()
    response.ParseFromString(payload.grpc_response("m", "OUTPUT0", 300, data))
    assert response.outputs[0].name == "OUTPUT0"
    assert list(response.raw_output_contents) == [data]
