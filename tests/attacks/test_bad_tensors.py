"""Requests that are well-formed and wrong: sizes that lie, tensors that the model does not have."""

import json
from typing import Any

import numpy as np
import pytest

from tests import kserve
from tests.attacks.raw_http import Wire, post

ROW = np.array([[1, 2, 3, 4]], np.float32)
A, B = kserve.tensor("a", ROW), kserve.tensor("b", ROW)


def check(server, model, body, *words, headers=()):
    """400 that says these words; the connection goes on."""
    with Wire(server.port) as wire:
        wire.send(post(model, body, *headers))
        answer = wire.read()
        assert answer.status == 400, answer
        for word in words:
            assert word in answer.error, answer
        wire.expect_alive()


def check_json(server, request: dict[str, Any], *words: str, model: str = "add_mul") -> None:
    check(server, model, json.dumps(request).encode(), *words)


# -- Tensors that do not fit the model -------------------------------------------------------------


def test_an_unknown_input_is_named(server):
    check_json(server, {"inputs": [A, B, kserve.tensor("c", ROW)]}, "'c'")
    check_json(server, {"inputs": [A, kserve.tensor("c", ROW)]}, "'c'")


def test_a_missing_input_is_named(server):
    check_json(server, {"inputs": [A]}, "'b'")
    check_json(server, {"inputs": []}, "'a'")


def test_an_input_named_twice_is_refused(server):
    check_json(server, {"inputs": [A, B, A]}, "'a'")
    check_json(server, {"inputs": [A, A]}, "'a'")


def test_an_unknown_output_is_named(server):
    check_json(server, {"inputs": [A, B], "outputs": [{"name": "none"}]}, "'none'")
    outputs = [{"name": "sum"}, {"name": "none"}]
    check_json(server, {"inputs": [A, B], "outputs": outputs}, "'none'")


def test_an_output_named_twice_is_refused(server):
    check_json(server, {"inputs": [A, B], "outputs": [{"name": "sum"}] * 2}, "'sum'")


@pytest.mark.parametrize("datatype", ["FP64", "INT32", "BOOL"])
def test_a_wrong_datatype_is_named_with_the_right_one(server, datatype):
    wrong = kserve.tensor("a", ROW.astype(kserve.DTYPES[datatype]))
    check_json(server, {"inputs": [wrong, B]}, "'a'", "FP32", datatype)
    body, headers = kserve.binary_body(
        [kserve.binary_tensor(name, ROW.astype(kserve.DTYPES[datatype])) for name in "ab"]
    )
    lines = [f"{kserve.HEADER_LENGTH}: {headers[kserve.HEADER_LENGTH]}"]
    check(server, "add_mul", body, "'a'", "FP32", datatype, headers=lines)


@pytest.mark.parametrize("shape", [[1, 3], [1, 5], [4], [1, 1, 4], [], [2, 2]])
def test_a_wrong_shape_is_shown_with_the_right_one(server, shape):
    wrong = kserve.tensor("a", np.zeros(shape, np.float32))
    shown = str(shape).replace(" ", "")
    check_json(server, {"inputs": [wrong, B]}, "'a'", "[-1,4]", shown)


def test_inputs_of_different_rows_are_refused(server):
    wrong = kserve.tensor("b", np.zeros((3, 4), np.float32))
    check_json(server, {"inputs": [A, wrong]}, "3")


@pytest.mark.parametrize("count", [0, 1, 3, 5, 8])
def test_a_wrong_number_of_elements_is_refused(server, count):
    wrong = {**A, "data": [1.0] * count}
    check_json(server, {"inputs": [wrong, B]}, "'a'")


@pytest.mark.parametrize("data", [[[1, 2], [3, 4]], [[1, 2, 3]], [[1, 2, 3, 4], []], [[[1]]]])
def test_data_nested_otherwise_than_the_shape_is_refused(server, data):
    check_json(server, {"inputs": [{**A, "data": data}, B]}, "'a'")


@pytest.mark.parametrize(
    "shape",
    [
        [2**32, 2**32],
        [2**31, 2**31, 2**31],
        [2**62, 4],
        [2**63 - 1, 2],
        [2**61, 8],
        [1, 2**40],
        [2**63 - 1],
        [1] * 13,
        [1] * 100_000,
    ],
    ids=lambda shape: f"rank-{len(shape)}-{shape[0]}",
)
@pytest.mark.parametrize("binary", [False, True])
def test_a_shape_beyond_all_memory_is_refused(server, shape, binary):
    tensor: dict[str, Any] = {"name": "x", "shape": shape, "datatype": "FP32"}
    if not binary:
        check_json(server, {"inputs": [{**tensor, "data": [1]}]}, model="identity_fp32")
        return
    body, headers = tailed({**tensor, "parameters": {"binary_data_size": 4}}, bytes(4))
    check(server, "identity_fp32", body, headers=headers)


# -- Sizes of binary data --------------------------------------------------------------------------


def tailed(*inputs: Any, header_bytes: int | str | None = None) -> tuple[bytes, list[str]]:
    """Body and header lines: descriptions of inputs, then the bytes of the tail."""
    *described, tail = inputs
    header = json.dumps({"inputs": described}).encode()
    length = len(header) if header_bytes is None else header_bytes
    return header + tail, [f"{kserve.HEADER_LENGTH}: {length}"]


def described(size: Any, count: int = 4, datatype: str = "FP32") -> dict[str, Any]:
    return {
        "name": "x",
        "shape": [1, count],
        "datatype": datatype,
        "parameters": {"binary_data_size": size},
    }


@pytest.mark.parametrize(
    ("size", "tail_bytes"),
    [
        (16, 0),
        (16, 15),
        (16, 17),
        (15, 15),
        (17, 17),
        (12, 16),
        (0, 0),
        (0, 16),
        (-16, 16),
        (-1, 0),
        (2**31, 16),
        (2**32 + 16, 16),
        (2**63, 16),
        (2**64 - 1, 16),
        (2**64, 16),
        (2**64 + 16, 16),
        (16.0, 16),
        ("16", 16),
        (True, 16),
        (None, 16),
        ([16], 16),
    ],
)
def test_a_size_that_does_not_fit_is_refused(server, size, tail_bytes):
    body, headers = tailed(described(size), bytes(tail_bytes))
    check(server, "identity_fp32", body, headers=headers)


def test_sizes_that_overflow_together_are_refused(server):
    first, second = described(2**63), {**described(2**63 + 16), "name": "z"}
    body, headers = tailed(first, second, bytes(16))
    check(server, "identity_fp32", body, headers=headers)


def test_a_size_that_is_said_twice_is_refused(server):
    text = (
        b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32",'
        b'"parameters":{"binary_data_size":16,"binary_data_size":16}}]}'
    )
    check(
        server, "identity_fp32", text + bytes(16), headers=[f"{kserve.HEADER_LENGTH}: {len(text)}"]
    )


def test_data_and_a_size_together_are_refused(server):
    body, headers = tailed({**described(16), "data": [1, 2, 3, 4]}, bytes(16))
    check(server, "identity_fp32", body, "'x'", headers=headers)


def test_a_tail_without_any_size_is_refused(server):
    tensor = kserve.tensor("x", ROW)
    body, headers = tailed(tensor, bytes(16))
    check(server, "identity_fp32", body, "16", headers=headers)


def test_a_size_without_a_tail_is_refused(server):
    """Without the header the whole body is JSON."""
    check(server, "identity_fp32", json.dumps({"inputs": [described(16)]}).encode(), "'x'")


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"\1\0\0",
        b"\1\0\0\0",
        b"\2\0\0\0a",
        b"\1\0\0\0ab",
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\xffabc",
        b"\xff\xff\xff\x7fabc",
        bytes(8),
    ],
)
def test_a_string_that_goes_beyond_its_tensor_is_refused(server, tail):
    body, headers = tailed(described(len(tail), 1, "BYTES"), tail)
    check(server, "identity_bytes", body, "'x'", headers=headers)


@pytest.mark.parametrize(
    "length",
    [
        "",
        "-1",
        "+5",
        "x",
        "1.5",
        "0x10",
        "5, 5",
        "99999",
        "9" * 20,
        str(2**64),
        str(2**64 + 97),
        "1",
    ],
)
def test_a_header_length_that_does_not_fit_is_refused(server, length):
    body, headers = tailed(described(16), bytes(16), header_bytes=length)
    check(server, "identity_fp32", body, headers=headers)


def test_two_header_lengths_are_refused(server):
    body, headers = tailed(described(16), bytes(16))
    length = int(headers[0].split(": ")[1])
    headers.append(f"{kserve.HEADER_LENGTH}: {length - 1}")
    with Wire(server.port) as wire:
        wire.send(post("identity_fp32", body, *headers))
        assert wire.read().status == 400


@pytest.mark.parametrize("off_by", [-1, 1])
def test_a_header_length_that_is_off_by_one_is_refused(server, off_by):
    body, headers = tailed(described(16), b"\xff" * 16)
    length = int(headers[0].split(": ")[1]) + off_by
    check(server, "identity_fp32", body, headers=[f"{kserve.HEADER_LENGTH}: {length}"])


@pytest.mark.parametrize("byte", [2, 0x80, 0xFF])
def test_a_bool_that_is_neither_true_nor_false_is_no_bool(server, byte):
    """Refused, or served as a bool: never handed on as it is to who assumes 0 or 1."""
    body, headers = tailed(described(1, 1, "BOOL"), bytes([byte]))
    with Wire(server.port) as wire:
        wire.send(post("identity_bool", body, *headers))
        answer = wire.read()
        assert answer.status in (200, 400), answer
        if answer.status == 200:
            assert answer.json["outputs"][0]["data"] == [True]
        wire.expect_alive()
