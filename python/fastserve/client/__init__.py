"""Ask a server: fastserve.client.Client and AsyncClient, over HTTP or gRPC.

    from fastserve.client import Client

    with Client("http://127.0.0.1:8000") as client:
        print(client.infer("digits", {"image": image})["label"])

Any server that speaks KServe v2 will do. Importing this loads neither the core nor numpy.
"""

from typing import TYPE_CHECKING

__all__ = [
    "AsyncClient",
    "CallError",
    "Client",
    "InferResult",
    "ModelMetadata",
    "ModelState",
    "RequestSequence",
    "Retries",
    "ServerMetadata",
    "TensorMetadata",
]

if TYPE_CHECKING:
    from fastserve.client.async_client import AsyncClient
    from fastserve.client.call_error import CallError
    from fastserve.client.client import Client
    from fastserve.client.requests import RequestSequence
    from fastserve.client.results import (
        InferResult,
        ModelMetadata,
        ModelState,
        ServerMetadata,
        TensorMetadata,
    )
    from fastserve.client.retries import Retries

_HOMES = {
    "AsyncClient": "async_client",
    "CallError": "call_error",
    "Client": "client",
    "InferResult": "results",
    "ModelMetadata": "results",
    "ModelState": "results",
    "RequestSequence": "requests",
    "Retries": "retries",
    "ServerMetadata": "results",
    "TensorMetadata": "results",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'fastserve.client' has no attribute '{name}'", name=name)
    from importlib import import_module

    value: object = getattr(import_module(f"fastserve.client.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
