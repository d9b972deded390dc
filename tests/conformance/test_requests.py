"""What a request may say beside its data: id, outputs, version, parameters, binary bodies."""

import struct

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests import kserve
from tests.conformance.conftest import ODD_NAME

A = np.array([[1, 2, 3, 4]], np.float32)
B = np.array([[10, 20, 30, 40]], np.float32)
PAIR = [kserve.tensor("a", A), kserve.tensor("b", B)]
BINARY_PAIR = [kserve.binary_tensor("a", A), kserve.binary_tensor("b", B)]


def triton_pair():
    tensors = []
    for name, array in (("a", A), ("b", B)):
        tensor = tritonclient.http.InferInput(name, array.shape, "FP32")
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors


# -- Identity of request and model -----------------------------------------------------------------


@pytest.mark.parametrize("request_id", ["1", "a b", 'quo"te\\', "grüße", "x" * 1000])
def test_the_id_is_echoed(server, request_id):
    answer = kserve.result(server.post("add_mul", {"id": request_id, "inputs": PAIR}))
    assert answer.header["id"] == request_id


def test_without_an_id_the_answer_has_none(server, client):
    assert "id" not in kserve.result(server.post("add_mul", {"inputs": PAIR})).header
    assert "id" not in client.infer("add_mul", triton_pair()).get_response()


def test_the_answer_names_model_and_version(client):
    answer = client.infer("add_mul", triton_pair(), request_id="7").get_response()
    assert (answer["model_name"], answer["model_version"]) == ("add_mul", "1")
    assert answer["id"] == "7"


@pytest.mark.parametrize(
    ("model", "version", "answered"),
    [("scaled", "", "3"), ("scaled", "1", "1"), ("scaled", "3", "3"), ("latest", "", "3")],
)
def test_the_version_is_the_one_asked_for_or_the_highest(client, model, version, answered):
    tensor = tritonclient.http.InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.array([[1, 10]], np.float32))
    answer = client.infer(model, [tensor], model_version=version)
    assert answer.get_response()["model_version"] == answered
    factor = int(answered)
    np.testing.assert_array_equal(answer.as_numpy("y"), [[factor, 10 * factor]])


@pytest.mark.parametrize(
    ("model", "version"), [("scaled", "2"), ("latest", "1"), ("nothing", ""), ("nothing", "1")]
)
def test_what_is_not_served_is_404_and_named(client, model, version):
    tensor = tritonclient.http.InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 2), np.float32))
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [tensor], model_version=version)
    assert caught.value.status() == "404"
    assert f"'{model}'" in caught.value.message()


def test_a_name_that_needs_percent_encoding_infers(client):
    answer = client.infer(ODD_NAME, triton_pair())
    assert answer.get_response()["model_name"] == ODD_NAME
    np.testing.assert_array_equal(answer.as_numpy("sum"), A + B)


# -- Outputs ---------------------------------------------------------------------------------------


def test_without_outputs_all_are_answered(server):
    for request in ({"inputs": PAIR}, {"inputs": PAIR, "outputs": []}):
        answer = kserve.result(server.post("add_mul", request))
        assert set(answer.outputs) == {"sum", "product"}


@pytest.mark.parametrize("names", [["sum"], ["product"], ["product", "sum"]])
@pytest.mark.parametrize("binary", [False, True])
def test_only_requested_outputs_are_answered(client, names, binary):
    requested = [tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in names]
    answer = client.infer("add_mul", triton_pair(), outputs=requested)
    assert {item["name"] for item in answer.get_response()["outputs"]} == set(names)
    expected = {"sum": A + B, "product": A * B}
    for name in names:
        np.testing.assert_array_equal(answer.as_numpy(name), expected[name])


def test_an_output_overrides_the_requests_default_form(server):
    outputs = [
        {"name": "sum", "parameters": {"binary_data": False}},
        {"name": "product"},
    ]
    request = {
        "inputs": PAIR, "outputs": outputs, "parameters": {"binary_data_output": True}
    }  # fmt: skip
    answer = kserve.result(server.post("add_mul", request))
    described = {item["name"]: item for item in answer.header["outputs"]}
    assert "data" in described["sum"]
    assert "data" not in described["product"]
    np.testing.assert_array_equal(answer.outputs["sum"], A + B)
    np.testing.assert_array_equal(answer.outputs["product"], A * B)


# -- Parameters ------------------------------------------------------------------------------------


def test_custom_and_reserved_parameters_are_accepted(client):
    parameters = {"flag": True, "count": -3, "ratio": 0.5, "word": "ü", "large": 2**63}
    answer = client.infer(
        "add_mul", triton_pair(), parameters=parameters, priority=1, timeout=10_000_000
    )
    np.testing.assert_array_equal(answer.as_numpy("sum"), A + B)


def test_the_servers_own_parameters_are_dropped(server):
    request = {"inputs": PAIR, "parameters": {"triton_final": [1, {}], "headers": {"a": "b"}}}
    assert kserve.result(server.post("add_mul", request)).header["outputs"]


@pytest.mark.parametrize("value", [[1], {"a": 1}, None])
def test_a_parameter_is_one_value(server, value):
    answer = server.post("add_mul", {"inputs": PAIR, "parameters": {"mine": value}})
    assert answer.status == 400, answer
    assert "mine" in answer.error


def test_unknown_fields_are_ignored(server):
    request = {"inputs": PAIR, "model_name": "other", "more": {"a": [1, None, "x", {"b": 1.5e3}]}}
    assert kserve.result(server.post("add_mul", request)).header["model_name"] == "add_mul"


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_region_that_nobody_registered_is_named(server, side):
    region = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
    shared = {"name": "a", "shape": [1, 4], "datatype": "FP32", "parameters": region}
    request = {"inputs": [shared, PAIR[1]]}
    if side == "outputs":
        request = {"inputs": PAIR, "outputs": [{"name": "sum", "parameters": region}]}
    answer = server.post("add_mul", request)
    assert answer.status == 404, answer
    assert "shared-memory region 'r'" in answer.error


# -- Bodies ----------------------------------------------------------------------------------------


def test_the_tail_is_in_the_order_of_the_json(server):
    for pair in (BINARY_PAIR, BINARY_PAIR[::-1]):
        body, headers = kserve.binary_body(pair, parameters={"binary_data_output": True})
        answer = kserve.result(server.post("add_mul", body, headers))
        np.testing.assert_array_equal(answer.outputs["product"], A * B)


def test_json_and_binary_inputs_mix(server):
    body, headers = kserve.binary_body([(PAIR[0], b""), BINARY_PAIR[1]])
    answer = kserve.result(server.post("add_mul", body, headers))
    np.testing.assert_array_equal(answer.outputs["sum"], A + B)


def test_a_header_length_with_json_alone_is_accepted(server):
    body, headers = kserve.binary_body([(PAIR[0], b""), (PAIR[1], b"")])
    answer = kserve.result(server.post("add_mul", body, headers))
    np.testing.assert_array_equal(answer.outputs["sum"], A + B)


def test_nested_data_is_the_same_as_flat(server):
    flat = np.arange(8, dtype=np.float32).reshape(2, 4)
    request = {"inputs": [kserve.tensor("a", flat), {**kserve.tensor("b", flat)}]}
    request["inputs"][1]["data"] = flat.tolist()
    answer = kserve.result(server.post("add_mul", request))
    np.testing.assert_array_equal(answer.outputs["product"], flat * flat)


def test_fields_may_come_in_any_order(server):
    text = (
        '{"inputs":[{"data":[1,2],"datatype":"INT32","shape":[1,2],"name":"x"}],'
        '"outputs":[{"name":"y"}],"id":"late"}'
    )
    answer = kserve.result(server.post("identity_int32", text.encode()))
    np.testing.assert_array_equal(answer.outputs["y"], [[1, 2]])
    assert answer.header["id"] == "late"


# -- Raw binary: a body without any JSON -----------------------------------------------------------

RAW = {kserve.HEADER_LENGTH: "0", "Content-Type": "application/octet-stream"}


def test_a_raw_body_is_one_row(server):
    data = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    answer = kserve.result(server.post("raw_row", data.tobytes(), RAW))
    assert answer.header["outputs"][0]["shape"] == [1, 2, 3]
    assert "binary_data_size" in answer.header["outputs"][0]["parameters"]
    assert "id" not in answer.header
    np.testing.assert_array_equal(answer.outputs["y"], data)


def test_a_raw_body_is_one_string(server):
    answer = kserve.result(server.post("one_string", b"\xff\x00any bytes", RAW))
    np.testing.assert_array_equal(answer.outputs["y"], np.array([[b"\xff\x00any bytes"]]))


def test_a_raw_body_may_be_a_vector_without_batch(server):
    answer = kserve.result(server.post("no_batch", struct.pack("<3f", 1, 2, 3), RAW))
    assert answer.header["outputs"][0]["shape"] == []
    assert answer.outputs["total"] == 6


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("raw_row", bytes(23)),  # Not whole elements of [2,-1].
        ("raw_row", bytes(4)),
        ("raw_open", bytes(8)),  # Two dimensions of any length.
        ("add_mul", bytes(32)),  # Two inputs.
        ("fixed_shape", bytes(20)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(len(value)),
)
def test_a_raw_body_that_has_no_one_shape_is_refused(server, model, body):
    answer = server.post(model, body, RAW)
    assert answer.status == 400, answer
    assert answer.error
