"""The tables as protobuf's descriptors and classes: made when the first RPC comes.

The pool is our own: a program that also imports a client's generated classes has both.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from fastserve.config.schema import describe_file, describe_model_config
from fastserve.rpc import tables

INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
REFLECTIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
_MODEL_CONFIG_FILE = "fastserve/model_config.proto"


def _add_method(
    file: Any, service: Any, name: str, takes: str, gives: str, *, streams: tuple[bool, bool]
) -> None:
    service.method.add(
        name=name,
        input_type=f".{file.package}.{takes}",
        output_type=f".{file.package}.{gives}",
        client_streaming=streams[0],
        server_streaming=streams[1],
    )


def _inference_file() -> Any:
    file = describe_file(
        "fastserve/grpc_service.proto", "inference", tables.INFERENCE, imports=[_MODEL_CONFIG_FILE]
    )
    service = file.service.add(name="GRPCInferenceService")
    for name in tables.INFERENCE_SERVICE.split():
        takes, gives = f"{name}Request", f"{name}Response"
        _add_method(file, service, name, takes, gives, streams=(False, False))
    _add_method(
        file, service, "ModelStreamInfer", "ModelInferRequest", "ModelStreamInferResponse",
        streams=(True, True),
    )  # fmt: skip
    return file


def _health_file() -> Any:
    enums = f"HealthCheckResponse.ServingStatus: {tables.SERVING_STATUS}"
    file = describe_file("fastserve/health.proto", "grpc.health.v1", tables.HEALTH, enums)
    service = file.service.add(name="Health")
    takes, gives = "HealthCheckRequest", "HealthCheckResponse"
    _add_method(file, service, "Check", takes, gives, streams=(False, False))
    _add_method(file, service, "Watch", takes, gives, streams=(False, True))
    return file


def _reflection_file(package: str) -> Any:
    version = package.rpartition(".")[2]
    file = describe_file(f"fastserve/reflection_{version}.proto", package, tables.REFLECTION)
    service = file.service.add(name="ServerReflection")
    _add_method(
        file, service, "ServerReflectionInfo", "ServerReflectionRequest",
        "ServerReflectionResponse", streams=(True, True),
    )  # fmt: skip
    return file


@functools.cache
def files() -> dict[str, Any]:
    """By name, each after what it imports."""
    made = [describe_model_config(), _inference_file(), _health_file()]
    made += [_reflection_file(service.rpartition(".")[0]) for service in REFLECTIONS]
    return {file.name: file for file in made}


def services() -> list[str]:
    return [INFERENCE, HEALTH, *REFLECTIONS]


@functools.cache
def _pool() -> Any:
    from google.protobuf import descriptor_pool

    pool = descriptor_pool.DescriptorPool()
    for file in files().values():
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@functools.cache
def message_class(full_name: str) -> Any:
    """E.g. "inference.ServerLiveRequest"."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(full_name))


@functools.cache
def methods() -> dict[str, tuple[Any, Any]]:
    """By path, the classes that an RPC takes and gives."""
    return {
        f"/{file.package}.{service.name}/{method.name}": (
            message_class(method.input_type.lstrip(".")),
            message_class(method.output_type.lstrip(".")),
        )
        for file in files().values()
        for service in file.service
        for method in service.method
    }


def symbols(file: Any) -> Iterator[str]:
    """The full names of what a file defines."""

    def within(prefix: str, messages: Any) -> Iterator[str]:
        for message in messages:
            name = f"{prefix}.{message.name}"
            yield name
            yield from (f"{name}.{field.name}" for field in message.field)
            yield from (f"{name}.{enum.name}" for enum in message.enum_type)
            yield from within(name, message.nested_type)

    yield from within(file.package, file.message_type)
    for enum in file.enum_type:
        yield f"{file.package}.{enum.name}"
    for service in file.service:
        yield f"{file.package}.{service.name}"
        yield from (f"{file.package}.{service.name}.{method.name}" for method in service.method)
