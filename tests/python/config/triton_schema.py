"""Triton's own schema, as an oracle: the descriptor that tritonclient ships.

Read from the generated file's bytes and not imported: importing needs gRPC, and would register the
messages with everybody.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path
from typing import Any, TypeGuard

import pytest


@functools.cache
def triton_config_class() -> Any:
    from google.protobuf import descriptor_pool, message_factory

    spec = importlib.util.find_spec("tritonclient")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("comparing with Triton's schema needs the test extra's package tritonclient")
    generated = Path(next(iter(spec.submodule_search_locations))) / "grpc" / "model_config_pb2.py"
    calls = (node for node in ast.walk(ast.parse(generated.read_text())) if is_registration(node))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(ast.literal_eval(next(calls).args[0]))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


def is_registration(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "AddSerializedFile"


def is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def fill(message: Any) -> None:
    """Sets every field, to values that tell them apart; of a oneof, the last one stays."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if is_map(field):
            key = f"{field.name}-key" if field.message_type.fields_by_name["key"].type == 9 else 7
            if field.message_type.fields_by_name["value"].message_type is None:
                value[key] = f"{field.name}-value"
            else:
                fill(value[key])
        elif field.message_type is not None:
            if hasattr(value, "ListFields"):
                value.SetInParent()
                fill(value)
            else:
                fill(value.add())
        elif hasattr(value, "append"):
            value.append(scalar(field))
        else:
            setattr(message, field.name, scalar(field))


def scalar(field: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    by_type = {1: 0.5, 2: 0.5, 8: True, 9: f"{field.name}-text"}
    return by_type.get(field.type, field.number + 100)
