"""The requests that the harness sends, and the model repositories that it serves. Pure, except
for the functions that write files where they are told to.
"""

from __future__ import annotations

import array
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Request:
    """One HTTP request, kept apart so that wrk can be given its pieces."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def encoded(self) -> bytes:
        """The whole request as a client writes it, keep-alive by HTTP/1.1's default."""
        lines = [f"POST {self.path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + self.body


def floats(count: int, seed: int) -> bytes:
    """`count` normally distributed fp32 values, little-endian."""
    source = random.Random(seed)
    return array.array("f", (source.gauss(0.0, 1.0) for _ in range(count))).tobytes()


def binary_request(model: str, tensor: str, shape: list[int], data: bytes) -> Request:
    """An FP32 tensor as raw bytes, its answer asked for as raw bytes too."""
    if math.prod(shape) * 4 != len(data):
        raise ValueError(f"shape {shape} needs {math.prod(shape) * 4} bytes, got {len(data)}")
    described = {
        "inputs": [
            {
                "name": tensor,
                "shape": shape,
                "datatype": "FP32",
                "parameters": {"binary_data_size": len(data)},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    head = json.dumps(described, separators=(",", ":")).encode()
    headers = (
        ("Content-Type", "application/octet-stream"),
        ("Inference-Header-Content-Length", str(len(head))),
    )
    return Request(f"/v2/models/{model}/infer", headers, head + data)


def json_request(model: str, tensor: str, shape: list[int], data: bytes) -> Request:
    """An FP32 tensor as text, in the digits that Python's json gives a float."""
    values = array.array("f", data).tolist()
    body = json.dumps(
        {"inputs": [{"name": tensor, "shape": shape, "datatype": "FP32", "data": values}]}
    ).encode()
    return Request(f"/v2/models/{model}/infer", (("Content-Type", "application/json"),), body)


def binary_answer(body: bytes, head_bytes: int) -> tuple[dict[str, Any], bytes]:
    """Splits an answer into its JSON and the raw bytes behind it."""
    return json.loads(body[:head_bytes]), body[head_bytes:]


def _tensor(name: str, dims: list[int]) -> str:
    return f'{{ name: "{name}" data_type: TYPE_FP32 dims: [ {", ".join(map(str, dims))} ] }}'


def identity_config(model: str, elements: int) -> str:
    """config.pbtxt of an identity model of one fixed shape, without batching."""
    return (
        f'name: "{model}"\nbackend: "identity"\nmax_batch_size: 0\n'
        f"input [ {_tensor('INPUT0', [elements])} ]\n"
        f"output [ {_tensor('OUTPUT0', [elements])} ]\n"
    )


def repeating_config(model: str, elements: int, count: int) -> str:
    """The same, which answers so many times: for streams."""
    return identity_config(model, elements) + (
        f'parameters {{ key: "repeat" value {{ string_value: "{count}" }} }}\n'
        "model_transaction_policy { decoupled: true }\n"
    )


def mlp_config() -> str:
    """config.pbtxt of the MLP: dynamic batching, no queue delay."""
    return (
        'name: "mlp"\nbackend: "onnxruntime"\nmax_batch_size: 64\n'
        f"input [ {_tensor('input', [64])} ]\n"
        f"output [ {_tensor('output', [10])} ]\n"
        "instance_group [ { count: 1 kind: KIND_CPU } ]\n"
        "dynamic_batching { max_queue_delay_microseconds: 0 }\n"
    )


def write_model(
    repository: Path, model: str, config: str | None, artifact: bytes | None = None
) -> None:
    """Lays one model of one version out as a Triton repository does."""
    version = repository / model / "1"
    version.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (repository / model / "config.pbtxt").write_text(config)
    if artifact is not None:
        (version / "model.onnx").write_bytes(artifact)


GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
GRPC_STREAM_PATH = "/inference.GRPCInferenceService/ModelStreamInfer"


def _varint(value: int) -> bytes:
    encoded = b""
    while value >= 0x80:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _grpc_tensor(name: str, elements: int) -> bytes:
    return _field(1, name.encode()) + _field(2, b"FP32") + _field(3, _varint(elements))


def grpc_request(model: str, tensor: str, elements: int, data: bytes) -> bytes:
    """A ModelInferRequest of one FP32 tensor, with its prefix."""
    message = (
        _field(1, model.encode()) + _field(5, _grpc_tensor(tensor, elements)) + _field(7, data)
    )
    return b"\0" + len(message).to_bytes(4, "big") + message


def grpc_response(model: str, tensor: str, elements: int, data: bytes) -> bytes:
    """A ModelInferResponse of one FP32 tensor, without a prefix."""
    named = _field(1, model.encode()) + _field(2, b"1")
    return named + _field(5, _grpc_tensor(tensor, elements)) + _field(6, data)
