"""Tensors from what a person writes to the wire and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fastserve.cli import tensors
from fastserve.cli.arguments import UsageError

FIXED: dict[str, tuple[str, list[Any]]] = {
    "BOOL": ("bool", [True, False]),
    "UINT8": ("uint8", [0, 255]),
    "UINT16": ("uint16", [0, 65535]),
    "UINT32": ("uint32", [0, 2**32 - 1]),
    "UINT64": ("uint64", [0, 2**64 - 1]),
    "INT8": ("int8", [-128, 127]),
    "INT16": ("int16", [-(2**15), 2**15 - 1]),
    "INT32": ("int32", [-(2**31), 2**31 - 1]),
    "INT64": ("int64", [-(2**63), 2**63 - 1]),
    "FP16": ("float16", [0.5, -65504.0]),
    "FP32": ("float32", [0.5, -(2.0**99)]),
    "FP64": ("float64", [0.1, -1e300]),
}


def spec(datatype: str, *shape: int) -> dict[str, object]:
    return {"name": "x", "datatype": datatype, "shape": list(shape)}


# Little-endian, as numpy writes them on the machines that we serve on.
@pytest.mark.parametrize("datatype", FIXED)
def test_raw_bytes_are_those_of_numpy(datatype):
    name, values = FIXED[datatype]
    raw = tensors.pack(datatype, values, "here")
    assert raw == np.array(values, np.dtype(name).newbyteorder("<")).tobytes()
    assert tensors.decode(datatype, raw) == values


def test_strings_stand_behind_their_length():
    raw = tensors.pack("BYTES", ["", "é"], "here")
    assert raw == b"\0\0\0\0\x02\0\0\0\xc3\xa9"
    assert tensors.decode("BYTES", raw) == ["", "é"]


# The upper half of a float, to the nearest with ties to even; NaN stays NaN.
@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.0, 0x3F80),
        (-2.0, 0xC000),
        (1.00390625, 0x3F80),
        (1.01171875, 0x3F82),
        (float("inf"), 0x7F80),
        (float("nan"), 0x7FC0),
    ],
)
def test_bfloat16_is_rounded_to_even(value, bits):
    assert tensors.pack("BF16", [value], "here") == bits.to_bytes(2, "little")


def test_bfloat16_is_read_as_floats():
    assert tensors.decode("BF16", b"\x80\x3f\x00\xc0") == [1.0, -2.0]


def test_written_json_is_sent_flat_with_its_shape():
    encoded = tensors.encode("x", "[[1, 2], [3, 4]]", spec("FP32", -1, 2))
    assert encoded.head == {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}
    assert encoded.raw == b""


def test_a_lone_row_becomes_a_batch_of_one():
    assert tensors.encode("x", "[1, 2]", spec("FP32", -1, 2)).head["shape"] == [1, 2]
    assert tensors.encode("x", "[1, 2, 3]", spec("FP32", -1)).head["shape"] == [3]
    # What does not fit in any way is left for the server to explain.
    assert tensors.encode("x", "[1, 2]", spec("FP32", -1, 3)).head["shape"] == [2]


def test_a_scalar_has_no_shape():
    assert tensors.encode("x", "5", spec("INT64")).head["shape"] == []


# FP16 and BF16 cannot travel as JSON.
def test_half_precision_is_sent_raw():
    encoded = tensors.encode("x", "[0.5, 1]", spec("FP16", 2))
    assert encoded.raw == np.array([0.5, 1], "<f2").tobytes()
    assert encoded.head["parameters"] == {"binary_data_size": 4}
    assert "data" not in encoded.head


def test_a_json_file_may_hold_an_array_or_a_tensor(tmp_path):
    file = tmp_path / "x.json"
    file.write_text("[[1, 2]]")
    assert tensors.encode("x", f"@{file}", spec("FP32", -1, 2)).head["data"] == [1, 2]
    file.write_text(json.dumps({"shape": [2, 1], "data": [1, 2]}))
    assert tensors.encode("x", f"@{file}", spec("FP32", -1, 1)).head["shape"] == [2, 1]


def test_a_numpy_file_is_sent_raw(tmp_path):
    file = tmp_path / "x.npy"
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    np.save(file, array)
    encoded = tensors.encode("x", f"@{file}", spec("FP32", -1, 3))
    assert encoded.raw == array.astype("<f4").tobytes()
    assert encoded.head["shape"] == [2, 3]
    assert encoded.head["parameters"] == {"binary_data_size": 24}


def test_a_numpy_file_of_strings_is_sent_with_their_lengths(tmp_path):
    file = tmp_path / "x.npy"
    np.save(file, np.array(["a", "bc"]))
    encoded = tensors.encode("x", f"@{file}", spec("BYTES", -1))
    assert tensors.decode("BYTES", encoded.raw) == ["a", "bc"]


def test_a_numpy_file_that_would_lose_values_is_refused(tmp_path):
    file = tmp_path / "x.npy"
    np.save(file, np.array([1.5]))
    with pytest.raises(UsageError, match="expected int64 for INT64, found float64; convert it"):
        tensors.encode("x", f"@{file}", spec("INT64", 1))
    np.save(file, np.array([1, 2]))
    assert tensors.encode("x", f"@{file}", spec("FP32", 2)).raw == b"\0\0\x80\x3f\0\0\0\x40"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[1, 2", "--input x: expected JSON or @FILE: "),
        ("[[1], [2, 3]]", "--input x: rows of different lengths are no tensor"),
        ('{"shape": [3]}', '--input x: expected an array, or a tensor with "shape" and "data"'),
        ('{"shape": [3], "data": [1]}', "--input x: shape [3] asks for 3 values, found 1"),
        ("@none.json", "none.json: No such file or directory"),
        ("@none.npy", "none.npy: No such file or directory"),
    ],
)
def test_what_cannot_be_sent_is_told(value, message):
    with pytest.raises(UsageError) as caught:
        tensors.encode("x", value, spec("FP32", -1))
    assert caught.value.message.startswith(message)


def test_a_file_that_is_no_array_is_told(tmp_path):
    file = tmp_path / "x.npy"
    file.write_bytes(b"no array")
    with pytest.raises(UsageError, match="not an array that can be sent"):
        tensors.encode("x", f"@{file}", spec("FP32", -1))
    with pytest.raises(UsageError, match="not a tensor of FP16"):
        tensors.encode("x", '["a"]', spec("FP16", -1))


def test_short_tensors_are_shown_nested_and_long_ones_cut():
    assert tensors.show([1.0, 2.5, 3.0, 4.0], [2, 2]) == "[[1, 2.5], [3, 4]]"
    assert tensors.show(["é"], [1]) == '["é"]'
    assert tensors.show([7], []) == "7"
    assert tensors.show([], [0, 3]) == "[]"
    assert tensors.show(list(range(100)), [100]).endswith("19, ...] (100 values)")
