"""KServe's shared-memory extension: what clients on this machine register, and what is registered.

    POST /v2/systemsharedmemory/region/NAME/register
         {"key": "/object", "offset": 0, "byte_size": 4096}
    POST /v2/systemsharedmemory[/region/NAME]/unregister
    GET  /v2/systemsharedmemory[/region/NAME]/status
    and the same of /v2/cudasharedmemory, with {"raw_handle": {"b64": "..."}, "device_id": 0, ...}

Over gRPC the same functions are asked. System and CUDA memory share one set of names.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Coroutine
from typing import Any

from fastserve.errors import Error, invalid, not_found
from fastserve.server.live.live_settings import LiveSettings
from fastserve.server.live.shared_regions import Client, SharedRegions, check
from fastserve.server.routes.bodies import json_object
from fastserve.server.routes.responses import (
    ControlRequest,
    Later,
    Respond,
    Response,
    json_response,
)

_BODY_BYTES_MAX = 16 << 10
_HANDLE_BYTES = 64  # Of a cudaIpcMemHandle_t.
_SIZE_MAX = 2**64 - 1
Operation = Callable[[ControlRequest, dict[str, str], Respond], None]


class SharedMemoryRoutes:
    """Threads: the loop's. Without `live`, or where it has no regions, all of it is refused."""

    def __init__(self, live: LiveSettings | None) -> None:
        self._live = live
        self._later = Later()

    @property
    def is_on(self) -> bool:
        return self._live is not None and self._live.regions is not None

    def operations(self) -> dict[str, Operation]:
        def done(work: Callable[[Client, str, bytes], Coroutine[Any, Any, None]]) -> Operation:
            async def run(client: Client, name: str, body: bytes) -> Response:
                await work(client, name, body)
                return Response(200)

            # Who asks is known while the connection is there: now.
            return lambda request, of, respond: self._later.begin(
                run(client_of(request), of.get("region", ""), request.body), respond
            )

        def shown(status: Callable[[Client, str], list[dict[str, Any]]]) -> Operation:
            return lambda request, of, respond: respond(
                json_response(200, status(client_of(request), of.get("region", "")))
            )

        async def register(client: Client, name: str, text: bytes) -> None:
            body = _body(text)
            await self.register(
                client, name, _text(body, "key"), _size(body, "offset", 0),
                _size(body, "byte_size"),
            )  # fmt: skip

        async def register_cuda(client: Client, name: str, text: bytes) -> None:
            body = _body(text)
            await self.register_cuda(
                client, name, _handle(body), _size(body, "device_id"), _size(body, "byte_size")
            )

        async def unregister(client: Client, name: str, _: bytes) -> None:
            await self.unregister(client, name)

        async def unregister_cuda(client: Client, name: str, _: bytes) -> None:
            self.unregister_cuda(client, name)

        return {
            "system_memory_register": done(register),
            "system_memory_unregister": done(unregister),
            "system_memory_status": shown(self.status),
            "cuda_memory_register": done(register_cuda),
            "cuda_memory_unregister": done(unregister_cuda),
            "cuda_memory_status": shown(self.cuda_status),
        }

    # Over HTTP and gRPC alike.

    async def register(
        self, client: Client, name: str, key: str, offset: int, byte_size: int
    ) -> None:
        """Answered when every event loop has it. Errors: those of SharedRegions.register()."""
        await self._required().register(client, name, key, offset, byte_size)
        await self._tell()

    async def unregister(self, client: Client, name: str) -> None:
        """One, or all without a name; as Triton does, what is not there is no error."""
        self._required().unregister(client, name)
        await self._tell()

    def status(self, client: Client, name: str) -> list[dict[str, Any]]:
        """Of one region, or of all without a name. Errors: NOT_FOUND, PERMISSION_DENIED."""
        regions = self._required()
        check(client)
        keys = ("name", "key", "offset", "byte_size")
        found = [
            dict(zip(keys, region, strict=True))
            for region in regions.regions()
            if name in ("", region[0])
        ]
        if name and not found:
            raise not_found(f"there is no shared-memory region '{name}'")
        return found

    async def register_cuda(
        self, client: Client, name: str, handle: bytes, device_id: int, byte_size: int
    ) -> None:
        """Errors: those of register(); INVALID_ARGUMENT for what is no handle;
        FAILED_PRECONDITION where there is no such device."""
        regions = self._required()
        check(client)
        if len(handle) != _HANDLE_BYTES:
            raise invalid(
                f"raw_handle: expected the {_HANDLE_BYTES} bytes of a cudaIpcMemHandle_t, found"
                f" {len(handle)}"
            )
        if byte_size < 1:
            raise invalid("byte_size: expected at least 1")
        if any(name == region[0] for region in regions.regions()):
            raise Error(
                "ALREADY_EXISTS",
                f"there is a shared-memory region '{name}' already; unregister it first",
            )
        raise Error(
            "FAILED_PRECONDITION",
            f"device {device_id}: this server has no CUDA device; register system shared memory",
        )

    def unregister_cuda(self, client: Client, _: str) -> None:
        """Nothing is there to be unregistered, which is no error."""
        self._required()
        check(client)

    def cuda_status(self, client: Client, name: str) -> list[dict[str, Any]]:
        """As status()."""
        self._required()
        check(client)
        if name:
            raise not_found(f"there is no CUDA shared-memory region '{name}'")
        return []

    # ----------------------------------------------------------------------------------------

    def _required(self) -> SharedRegions:
        if self._live is None or self._live.regions is None:
            raise Error(
                "PERMISSION_DENIED",
                "shared memory is off on this server; send tensors in the request, or start the"
                " server with --shared-memory local",
            )
        return self._live.regions

    async def _tell(self) -> None:
        assert self._live is not None
        await self._live.tell()


def client_of(request: ControlRequest) -> Client:
    """Who asks."""
    return Client(request.may_share, request.peer, request.peer_uid)


def _body(text: bytes) -> dict[str, Any]:
    """Errors: INVALID_ARGUMENT."""
    if len(text) > _BODY_BYTES_MAX:
        raise invalid(f"the body has {len(text)} bytes; a region needs less than {_BODY_BYTES_MAX}")
    return json_object(text)


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise invalid(f"{key}: expected a string, found {_shown(value)}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise invalid(f"{key}: expected text, found {_shown(value)}, which has half a character")
    return value


def _size(body: dict[str, Any], key: str, default: int | None = None) -> int:
    value = body.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _SIZE_MAX:
        raise invalid(f"{key}: expected a number from 0, found {_shown(value)}")
    return value


def _handle(body: dict[str, Any]) -> bytes:
    handle = body.get("raw_handle")
    text = handle.get("b64") if isinstance(handle, dict) else None
    if not isinstance(text, str):
        raise invalid('raw_handle: expected {"b64": "..."}')
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise invalid("raw_handle: b64 is not base64") from None


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:100]
