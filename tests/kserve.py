"""KServe v2 requests and answers by hand: for what a stock client would not send, or would hide."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.served import Answer

HEADER_LENGTH = "Inference-Header-Content-Length"

DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
    "BF16": np.uint16,  # Its bits: numpy has no such type.
}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items() if name != "BF16"}


def tensor(name: str, array: Any, datatype: str = "") -> dict[str, Any]:
    """An input whose data travels as JSON."""
    array = np.asarray(array)
    data = array.ravel().tolist()
    return {
        "name": name,
        "shape": list(array.shape),
        "datatype": datatype or NAMES[array.dtype],
        "data": [item.decode() if isinstance(item, bytes) else item for item in data],
    }


def raw_bytes(array: Any) -> bytes:
    """The array as it travels in the binary extension."""
    array = np.asarray(array)
    if array.dtype == np.object_:
        return b"".join(struct.pack("<I", len(item)) + item for item in array.ravel())
    return array.tobytes()


def binary_tensor(name: str, array: Any, datatype: str = "") -> tuple[dict[str, Any], bytes]:
    """An input that travels behind the JSON: its description and its bytes."""
    array = np.asarray(array)
    tail = raw_bytes(array)
    description = {
        "name": name,
        "shape": list(array.shape),
        "datatype": datatype or NAMES[array.dtype],
        "parameters": {"binary_data_size": len(tail)},
    }
    return description, tail


def binary_body(
    inputs: Sequence[tuple[dict[str, Any], bytes]], **fields: Any
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request whose inputs are binary."""
    header = json.dumps({"inputs": [item for item, _ in inputs], **fields}).encode()
    body = header + b"".join(tail for _, tail in inputs)
    return body, {HEADER_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Result:
    """A successful answer: its JSON, and its outputs as arrays in the order they came."""

    header: dict[str, Any]
    outputs: dict[str, Any]


def result(answer: Answer) -> Result:
    """Checks the answer against the protocol on the way."""
    assert answer.status == 200, answer
    return parse(answer.headers, answer.body)


def parse(headers: Mapping[str, str], body: bytes) -> Result:
    """`headers` has its names in lower case."""
    length = headers.get(HEADER_LENGTH.lower())
    text = body if length is None else body[: int(length)]
    tail = b"" if length is None else body[int(length) :]
    header = json.loads(text)
    names = [item["name"] for item in header["outputs"]]
    assert len(names) == len(set(names)), f"an output came twice: {names}"
    is_binary = ["binary_data_size" in item.get("parameters", {}) for item in header["outputs"]]
    assert any(is_binary) == (length is not None), f"{HEADER_LENGTH} only with binary outputs"
    kind = "application/octet-stream" if any(is_binary) else "application/json"
    assert headers["content-type"].startswith(kind), headers
    outputs = {}
    for item in header["outputs"]:
        size = item.get("parameters", {}).get("binary_data_size")
        if size is None:
            outputs[item["name"]] = _from_json(item)
            continue
        assert "data" not in item, item
        assert len(tail) >= size, f"{item}: only {len(tail)} bytes are left"
        outputs[item["name"]] = _from_raw(item, tail[:size])
        tail = tail[size:]
    assert not tail, f"{len(tail)} bytes belong to no output"
    return Result(header, outputs)


def _from_json(item: Mapping[str, Any]) -> Any:
    data = item["data"]
    if item["datatype"] == "BYTES":
        data = [text.encode() for text in data]
    array = np.empty(len(data), DTYPES[item["datatype"]])
    array[:] = data
    return array.reshape(item["shape"])


def _from_raw(item: Mapping[str, Any], data: bytes) -> Any:
    if item["datatype"] != "BYTES":
        return np.frombuffer(data, DTYPES[item["datatype"]]).reshape(item["shape"])
    elements = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        assert len(data) >= 4 + length, f"{item['name']}: an element goes beyond the end"
        elements.append(data[4 : 4 + length])
        data = data[4 + length :]
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array.reshape(item["shape"])
