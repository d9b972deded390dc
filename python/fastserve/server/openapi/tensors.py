"""What a model takes and gives, as JSON Schema and as an example. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastserve.config.completion import ServedConfig
from fastserve.config.model_config import Tensor

# Those cannot travel as JSON: their values follow it.
NOT_JSON = ("FP16", "BF16")
# Larger examples help nobody who reads them.
EXAMPLE_VALUES_MAX = 1024
Schema = dict[str, Any]


def request_schema(served: ServedConfig) -> Schema:
    """Of the body of an inference, with an example where one can be made."""
    inputs = [_input(tensor) for tensor in served.inputs]
    names = [tensor.name for tensor in served.outputs]
    schema: Schema = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "description": "Comes back with the answer."},
            "parameters": {"$ref": "#/components/schemas/Parameters"},
            "inputs": {
                "type": "array",
                "description": "Each of the model's inputs once, in any order.",
                "minItems": sum(not tensor.optional for tensor in served.inputs),
                "maxItems": len(served.inputs),
                "items": inputs[0] if len(inputs) == 1 else {"oneOf": inputs},
            },
            "outputs": {
                "type": "array",
                "description": "The outputs that are wanted; all of them without it.",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"enum": names},
                        "parameters": {"$ref": "#/components/schemas/Parameters"},
                    },
                },
            },
        },
    }
    made = example(served.inputs)
    if made is not None:
        schema["examples"] = [made]
    return schema


def response_schema(name: str, served: ServedConfig) -> Schema:
    outputs = [
        {
            "type": "object",
            "required": ["name", "datatype", "shape"],
            "properties": _named(tensor),
        }
        for tensor in served.outputs
    ]
    return {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "id": {"type": "string"},
            "model_name": {"const": name},
            "model_version": {"type": "string"},
            "parameters": {"$ref": "#/components/schemas/Parameters"},
            "outputs": {
                "type": "array",
                "items": outputs[0] if len(outputs) == 1 else {"anyOf": outputs},
            },
        },
    }


def example(tensors: Sequence[Tensor]) -> dict[str, Any] | None:
    """A request of zeros; None where its values would be too many or cannot stand in JSON."""
    inputs = []
    values = 0
    for tensor in tensors:
        if tensor.optional:
            continue
        shape = [max(length, 1) if length < 0 else length for length in tensor.shape]
        count = math.prod(shape)
        values += count
        if tensor.datatype in NOT_JSON or values > EXAMPLE_VALUES_MAX:
            return None
        data = [_zero(tensor.datatype)] * count
        inputs.append(
            {"name": tensor.name, "shape": shape, "datatype": tensor.datatype, "data": data}
        )
    return {"inputs": inputs}


def _zero(datatype: str) -> Any:
    if datatype == "BOOL":
        return False
    if datatype == "BYTES":
        return "text"
    return 0.0 if datatype.startswith("FP") else 0


def _input(tensor: Tensor) -> Schema:
    properties = {**_named(tensor), "parameters": {"$ref": "#/components/schemas/Parameters"}}
    required = ["name", "shape", "datatype"]
    if tensor.datatype in NOT_JSON:
        properties["data"] = False
        required.append("parameters")
    return {"type": "object", "required": required, "properties": properties}


def _named(tensor: Tensor) -> Schema:
    properties: Schema = {
        "name": {"const": tensor.name},
        "datatype": {"const": tensor.datatype},
        # The lengths are said in words: few tools understand prefixItems.
        "shape": {
            "type": "array",
            "description": _shown_shape(tensor),
            "minItems": len(tensor.shape),
            "maxItems": len(tensor.shape),
            "items": {"type": "integer", "minimum": 0},
        },
    }
    if tensor.datatype not in NOT_JSON:
        properties["data"] = {
            "type": "array",
            "description": "The values in row-major order, flat or nested as the shape says; not"
            " there if parameters say binary_data_size, or a shared memory region.",
            "items": _item(tensor.datatype),
        }
    return properties


def _shown_shape(tensor: Tensor) -> str:
    names = tensor.dim_names or ("",) * len(tensor.shape)
    lengths = [
        (name or "any") if length < 0 else str(length)
        for name, length in zip(names, tensor.shape, strict=False)
    ]
    return f"[{', '.join(lengths)}]"


def _item(datatype: str) -> Schema:
    if datatype == "BOOL":
        kind = ["boolean", "integer"]
    elif datatype == "BYTES":
        kind = ["string"]
    else:
        kind = ["number"]
    return {"type": [*kind, "array"]}
