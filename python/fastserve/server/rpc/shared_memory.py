"""The RPCs of the shared-memory extension: each says what the same request over HTTP says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastserve.errors import invalid
from fastserve.server.live.shared_regions import Client
from fastserve.server.routes.shared_memory import SharedMemoryRoutes

# Takes who asks, the request, and the response to fill in.
ClientHandler = Callable[[Client, Any, Any], Awaitable[None]]


def shared_memory_handlers(routes: SharedMemoryRoutes) -> Mapping[str, ClientHandler]:
    """By the name of the RPC."""

    async def register(client: Client, request: Any, _: Any) -> None:
        await routes.register(client, request.name, request.key, request.offset, request.byte_size)

    async def unregister(client: Client, request: Any, _: Any) -> None:
        await routes.unregister(client, request.name)

    async def status(client: Client, request: Any, response: Any) -> None:
        for region in routes.status(client, request.name):
            _fill(response.regions[region["name"]], region)

    async def register_cuda(client: Client, request: Any, _: Any) -> None:
        if request.device_id < 0:
            raise invalid(f"device_id: expected a number from 0, found {request.device_id}")
        await routes.register_cuda(
            client, request.name, request.raw_handle, request.device_id, request.byte_size
        )

    async def unregister_cuda(client: Client, request: Any, _: Any) -> None:
        routes.unregister_cuda(client, request.name)

    async def status_cuda(client: Client, request: Any, response: Any) -> None:
        for region in routes.cuda_status(client, request.name):
            _fill(response.regions[region["name"]], region)

    return {
        "SystemSharedMemoryRegister": register,
        "SystemSharedMemoryUnregister": unregister,
        "SystemSharedMemoryStatus": status,
        "CudaSharedMemoryRegister": register_cuda,
        "CudaSharedMemoryUnregister": unregister_cuda,
        "CudaSharedMemoryStatus": status_cuda,
    }


def _fill(status: Any, region: Mapping[str, Any]) -> None:
    for key, value in region.items():
        setattr(status, key, value)
