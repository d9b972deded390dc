"""Numbers come back exactly as they were sent, or are refused."""

import json
import math

import numpy as np
import pytest

from tests import kserve

INTEGERS = {
    "UINT64": [0, 1, 2**63, 2**63 + 1, 2**64 - 1],
    "INT64": [-(2**63), -(2**63) + 1, -1, 0, 2**53 + 1, 2**63 - 1],
    "UINT32": [0, 2**31, 2**32 - 1],
    "INT32": [-(2**31), -1, 2**31 - 1],
    "UINT16": [0, 2**16 - 1],
    "INT16": [-(2**15), 2**15 - 1],
    "UINT8": [0, 255],
    "INT8": [-128, 127],
}


def echo(server, datatype, data_text, count):
    """The text of `data` in the answer to data given as text."""
    request = (
        f'{{"inputs":[{{"name":"x","shape":[1,{count}],"datatype":"{datatype}",'
        f'"data":{data_text}}}]}}'
    )
    answer = server.post(f"identity_{datatype.lower()}", request.encode())
    assert answer.status == 200, answer
    return answer.json["outputs"][0]["data"]


@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_are_exact_at_their_limits(server, datatype):
    values = INTEGERS[datatype]
    came = echo(server, datatype, json.dumps(values), len(values))
    assert came == values
    assert all(type(value) is int for value in came)


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("side", [-1, 1])
def test_integers_beyond_their_limits_are_refused(server, datatype, side):
    value = min(0, *INTEGERS[datatype]) - 1 if side < 0 else max(INTEGERS[datatype]) + 1
    tensor = {"name": "x", "shape": [1, 1], "datatype": datatype, "data": [value]}
    answer = server.post(f"identity_{datatype.lower()}", {"inputs": [tensor]})
    assert answer.status == 400, answer
    assert "'x'" in answer.error
    assert datatype in answer.error
    assert str(value)[:20] in answer.error


@pytest.mark.parametrize("seed", range(3))
def test_fp64_round_trips_to_the_bit(server, seed):
    bits = np.random.default_rng(seed).integers(0, 2**64, 2000, np.uint64).view(np.float64)
    edges = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1e22]
    values = [value for value in bits.tolist() if math.isfinite(value)] + edges
    came = echo(server, "FP64", json.dumps(values), len(values))
    assert list(map(repr, came)) == list(map(repr, values))


@pytest.mark.parametrize("seed", range(3))
def test_fp32_round_trips_to_the_bit(server, seed):
    bits = np.random.default_rng(seed).integers(0, 2**32, 2000, np.uint32).view(np.float32)
    edges = np.array([0.0, -0.0, 1e-45, 1.1754944e-38, 3.4028235e38, 0.1, 16777217], np.float32)
    values = np.concatenate([bits[np.isfinite(bits)], edges])
    came = np.array(echo(server, "FP32", json.dumps(values.tolist()), len(values)), np.float32)
    np.testing.assert_array_equal(came.view(np.uint32), values.view(np.uint32))


def test_fp32_rounds_decimal_text_once(server):
    # Between two floats, and nearer to the upper one by less than a double can tell.
    text = "1.00000005960464477539062500000000000000000001"
    came = np.array(echo(server, "FP32", f"[{text}]", 1), np.float32)
    assert came.view(np.uint32)[0] == 0x3F800001


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_what_is_not_finite(server, datatype, value):
    model = f"identity_{datatype.lower()}"
    tensor = kserve.binary_tensor("x", np.array([[1, value]], kserve.DTYPES[datatype]))
    body, headers = kserve.binary_body([tensor], outputs=[{"name": "y"}])
    answer = server.post(model, body, headers)
    assert answer.status == 400, answer
    assert "'y'" in answer.error

    body, headers = kserve.binary_body([tensor], parameters={"binary_data_output": True})
    came = kserve.result(server.post(model, body, headers)).outputs["y"]
    np.testing.assert_array_equal(came, np.array([[1, value]], kserve.DTYPES[datatype]))


@pytest.mark.parametrize(("datatype", "text"), [("FP32", "3.5e38"), ("FP64", "1e309")])
def test_numbers_that_overflow_are_refused(server, datatype, text):
    request = f'{{"inputs":[{{"name":"x","shape":[1,1],"datatype":"{datatype}","data":[{text}]}}]}}'
    answer = server.post(f"identity_{datatype.lower()}", request.encode())
    assert answer.status == 400, answer


def test_bytes_that_are_not_utf8_have_no_json_form(server):
    tensor = kserve.binary_tensor("x", np.array([[b"good", b"\xff\xfe"]], np.object_))
    body, headers = kserve.binary_body([tensor], outputs=[{"name": "y"}])
    answer = server.post("identity_bytes", body, headers)
    assert answer.status == 400, answer
    assert "'y'" in answer.error


def test_strings_keep_every_character(server):
    texts = ["", "\0", "\u007f", "\u2028", "\U0001f600", '"', "\\", "a" * 10_000, "é" * 5_000]
    tensor = {"name": "x", "shape": [1, len(texts)], "datatype": "BYTES", "data": texts}
    answer = server.post("identity_bytes", {"inputs": [tensor]})
    assert answer.status == 200, answer
    assert answer.json["outputs"][0]["data"] == texts
