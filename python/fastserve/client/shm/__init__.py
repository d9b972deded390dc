"""Ask a server on this machine over shared memory: ShmClient and AsyncShmClient.

    from fastserve.client.shm import ShmClient

    with ShmClient() as client, client.request("digits") as request:
        request.inputs["image"][:] = image
        print(request.result()["label"])

Tensors lie in memory that client and server share, and no socket, event loop or parser is in the
way. Importing this loads neither the core nor numpy. `python -m fastserve.client.shm` says where
the library for C and C++ is.
"""

from typing import TYPE_CHECKING

__all__ = [
    "AsyncShmClient",
    "AsyncShmRequest",
    "CallError",
    "InferResult",
    "ModelMetadata",
    "ShmClient",
    "ShmRequest",
    "TensorMetadata",
]

if TYPE_CHECKING:
    from fastserve.client.call_error import CallError
    from fastserve.client.results import InferResult, ModelMetadata, TensorMetadata
    from fastserve.client.shm.async_client import AsyncShmClient
    from fastserve.client.shm.async_request import AsyncShmRequest
    from fastserve.client.shm.client import ShmClient
    from fastserve.client.shm.request import ShmRequest

_HOMES = {
    "AsyncShmClient": "shm.async_client",
    "AsyncShmRequest": "shm.async_request",
    "CallError": "call_error",
    "InferResult": "results",
    "ModelMetadata": "results",
    "ShmClient": "shm.client",
    "ShmRequest": "shm.request",
    "TensorMetadata": "results",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'fastserve.client.shm' has no attribute '{name}'", name=name)
    from importlib import import_module

    value: object = getattr(import_module(f"fastserve.client.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
