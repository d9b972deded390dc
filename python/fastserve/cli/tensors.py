"""Tensors of one request: from what a person writes to the wire, and back to something readable."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastserve.cli.arguments import UsageError

# The protocol's datatypes as struct's letters; BF16 is the upper half of a float.
_LETTERS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
BINARY_ONLY = ("FP16", "BF16")
_NUMPY_TYPES = {
    "BOOL": "bool",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    **{
        f"{sign}INT{bits}": f"{sign.lower()}int{bits}"
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
}
_SHOWN_MAX = 20


@dataclass(frozen=True)
class Encoded:
    """An input's entry in the JSON part, and its raw bytes behind it, if it has any."""

    head: dict[str, Any] = field(default_factory=dict)
    raw: bytes = b""


def encode(name: str, value: str, spec: Mapping[str, Any]) -> Encoded:
    """The input from `@file.npy`, `@file.json` or JSON itself. Errors: UsageError, one line."""
    if value.startswith("@") and value.endswith(".npy"):
        return _from_numpy(name, Path(value[1:]), spec)
    where = f"--input {name}"
    if value.startswith("@"):
        where = value[1:]
        try:
            value = Path(where).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{where}: {getattr(error, 'strerror', 'not UTF-8 text')}") from None
    try:
        data = json.loads(value)
    except ValueError as error:
        raise UsageError(f"{where}: expected JSON or @FILE: {error}") from None
    shape = None
    if isinstance(data, dict):
        if "data" not in data:
            raise UsageError(f'{where}: expected an array, or a tensor with "shape" and "data"')
        shape, data = data.get("shape"), data["data"]
    found = shape_of(data, where)
    flat = flatten(data)
    shape = fit(list(shape if shape is not None else found), spec["shape"])
    if math.prod(shape) != len(flat):
        raise UsageError(
            f"{where}: shape {shape} asks for {math.prod(shape)} values, found {len(flat)}"
        )
    head = {"name": name, "datatype": spec["datatype"], "shape": shape}
    if spec["datatype"] not in BINARY_ONLY:
        return Encoded({**head, "data": flat})
    raw = pack(spec["datatype"], flat, where)
    return Encoded({**head, "parameters": {"binary_data_size": len(raw)}}, raw)


def _from_numpy(name: str, path: Path, spec: Mapping[str, Any]) -> Encoded:
    import numpy as np  # 100 ms, and only those who have such a file need it.

    datatype = spec["datatype"]
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"{path}: not an array that can be sent: {error}") from None
    if datatype == "BYTES":
        raw = pack(datatype, [str(item) for item in array.ravel().tolist()], str(path))
    elif datatype == "BF16":
        raw = pack(datatype, array.ravel().tolist(), str(path))
    else:
        wanted = np.dtype(_NUMPY_TYPES[datatype]).newbyteorder("<")
        if not np.can_cast(array.dtype, wanted, casting="same_kind"):
            raise UsageError(
                f"{path}: expected {wanted.name} for {datatype}, found {array.dtype.name}; convert"
                f" it: array.astype('{wanted.name}')"
            )
        raw = np.ascontiguousarray(array, dtype=wanted).tobytes()
    head = {
        "name": name,
        "datatype": datatype,
        "shape": fit(list(array.shape), spec["shape"]),
        "parameters": {"binary_data_size": len(raw)},
    }
    return Encoded(head, raw)


def fit(shape: list[int], wanted: Sequence[int]) -> list[int]:
    """A lone row becomes a batch of one: people have an image, not a batch of images.

    Anything else that does not fit is left for the server to explain.
    """
    is_row = len(shape) + 1 == len(wanted) and wanted[0] in (-1, 1)
    if is_row and all(w in (-1, s) for s, w in zip(shape, wanted[1:], strict=True)):
        return [1, *shape]
    return shape


def shape_of(data: Any, where: str) -> list[int]:
    """The shape of a nested list. Errors: UsageError if rows differ in length."""
    if not isinstance(data, list):
        return []
    shapes = [shape_of(item, where) for item in data]
    if any(shape != shapes[0] for shape in shapes):
        raise UsageError(f"{where}: rows of different lengths are no tensor")
    return [len(data), *(shapes[0] if shapes else [])]


def flatten(data: Any) -> list[Any]:
    if not isinstance(data, list):
        return [data]
    return [value for item in data for value in flatten(item)]


def pack(datatype: str, values: Sequence[Any], where: str) -> bytes:
    """Raw bytes as on the wire: little-endian; strings each behind their length."""
    try:
        if datatype == "BYTES":
            texts = [str(value).encode() for value in values]
            return b"".join(struct.pack("<I", len(text)) + text for text in texts)
        if datatype == "BF16":
            return b"".join(_bfloat16(float(value)) for value in values)
        return struct.pack(f"<{len(values)}{_LETTERS[datatype]}", *values)
    except (struct.error, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{where}: not a tensor of {datatype}: {error}") from None


def _bfloat16(value: float) -> bytes:
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    if math.isnan(value):
        return struct.pack("<H", (bits >> 16) | 0x40)
    # To the nearest, ties to even.
    return struct.pack("<H", (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


def decode(datatype: str, raw: bytes) -> list[Any]:
    if datatype == "BYTES":
        texts, offset = [], 0
        while offset + 4 <= len(raw):
            (size,) = struct.unpack_from("<I", raw, offset)
            texts.append(raw[offset + 4 : offset + 4 + size].decode(errors="replace"))
            offset += 4 + size
        return texts
    if datatype == "BF16":
        halves = struct.unpack(f"<{len(raw) // 2}H", raw)
        return [struct.unpack("<f", struct.pack("<I", half << 16))[0] for half in halves]
    letter = _LETTERS[datatype]
    return list(struct.unpack(f"<{len(raw) // struct.calcsize('<' + letter)}{letter}", raw))


def show(data: Any, shape: Sequence[int]) -> str:
    """Nested as the tensor is if it is short, else its first values and how many there are."""
    flat = flatten(data)
    if len(flat) > _SHOWN_MAX:
        shown = ", ".join(_number(value) for value in flat[:_SHOWN_MAX])
        return f"[{shown}, ...] ({len(flat)} values)"
    return _nest([_number(value) for value in flat], list(shape))


def _nest(words: list[str], shape: list[int]) -> str:
    if not shape:
        return words[0] if words else "[]"
    step = len(words) // shape[0] if shape[0] else 0
    rows = [_nest(words[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]
    return f"[{', '.join(rows)}]"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False)
