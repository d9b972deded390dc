"""The RPCs of inference.GRPCInferenceService and grpc.health.v1.Health, but for the inferences.

Each says what the same request over HTTP says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from fastserve.config.spelling import did_you_mean
from fastserve.errors import Error, invalid, not_found
from fastserve.rpc import descriptors
from fastserve.server.live.shared_regions import Client
from fastserve.server.routes.responses import NotServed
from fastserve.server.rpc.reflection import reflect
from fastserve.server.rpc.shared_memory import shared_memory_handlers

if TYPE_CHECKING:
    from fastserve.server.routes.repository import RepositoryRoutes
    from fastserve.server.routes.router import Router

_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3
# Services whose health is asked for by their own name; any other is the name of a model.
_OF_THE_SERVER = ("", descriptors.INFERENCE, descriptors.HEALTH)
_PATH_CHARACTERS_MAX = 200

# Takes the request and the response to fill in.
Handler = Callable[[Any, Any], Awaitable[None]]


class Service:
    """Threads: the loop's; made on any."""

    def __init__(self, router: Router, repository: RepositoryRoutes) -> None:
        self._router = router
        self._repository = repository
        inference = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "TraceSetting": self._trace_setting,
            "LogSettings": self._log_settings,
            "ModelInfer": self._unplaced_inference,
            "RepositoryIndex": self._repository_index,
            "RepositoryModelLoad": self._repository_load,
            "RepositoryModelUnload": self._repository_unload,
        }
        self._of_clients = {
            f"/{descriptors.INFERENCE}/{name}": made
            for name, made in shared_memory_handlers(router.shared_memory).items()
        }
        self._handlers: dict[str, Handler] = {
            **{f"/{descriptors.INFERENCE}/{name}": made for name, made in inference.items()},
            f"/{descriptors.HEALTH}/Check": self._health_check,
            f"/{descriptors.HEALTH}/Watch": self._health_watch,
            **{f"/{name}/ServerReflectionInfo": _reflect for name in descriptors.REFLECTIONS},
        }
        descriptors.methods()  # On this thread, so that no request waits for it.

    async def answer(self, path: str, message: bytes, client: Client) -> bytes:
        """The response's message. Errors: UNIMPLEMENTED, INVALID_ARGUMENT, what the RPC says."""
        handler, classes = self._handlers.get(path), descriptors.methods().get(path)
        if (of_clients := self._of_clients.get(path)) is not None:
            handler = partial(of_clients, client)
        if handler is None or classes is None:
            raise _unimplemented(path, known=classes is not None)
        request, response = classes[0](), classes[1]()
        try:
            request.ParseFromString(message)
        except DecodeError:
            name = request.DESCRIPTOR.full_name
            raise invalid(f"the message is no protobuf of {name}") from None
        await handler(request, response)
        serialized: bytes = response.SerializeToString()
        return serialized

    # -- Server ------------------------------------------------------------------------------

    async def _server_live(self, _: Any, response: Any) -> None:
        response.live = True

    async def _server_ready(self, _: Any, response: Any) -> None:
        response.ready = not self._router.why_not_ready()

    async def _server_metadata(self, _: Any, response: Any) -> None:
        ParseDict(self._router.server_metadata(), response)

    # -- Models ------------------------------------------------------------------------------

    async def _model_ready(self, request: Any, response: Any) -> None:
        response.ready = self._is_ready(request.name, request.version)

    def _is_ready(self, name: str, version: str = "") -> bool:
        """As for Triton, what does not exist is not ready, and no error."""
        try:
            self._router.check_model_ready(name, version)
        except Error:
            return False
        return True

    async def _model_metadata(self, request: Any, response: Any) -> None:
        ParseDict(self._router.model_metadata(request.name, request.version), response)

    async def _model_config(self, request: Any, response: Any) -> None:
        config = self._router.model_config(request.name, request.version)
        ParseDict(config, response.config, ignore_unknown_fields=True)

    async def _model_statistics(self, request: Any, response: Any) -> None:
        version = self._router.counted_version(request.name, request.version)
        found = await self._router.statistics.of(request.name or None, version)
        ParseDict({"model_stats": found}, response)

    # -- Settings ----------------------------------------------------------------------------

    async def _trace_setting(self, request: Any, response: Any) -> None:
        """A setting without values follows the server's, or what it was started with."""
        changes = {key: list(setting.value) or None for key, setting in request.settings.items()}
        shown = await self._router.settings.trace(request.model_name, changes)
        for key, value in shown.items():
            values = value if isinstance(value, list) else [value]
            response.settings[key].value.extend(values)

    async def _log_settings(self, request: Any, response: Any) -> None:
        changes = {
            key: getattr(setting, setting.WhichOneof("parameter_choice") or "string_param")
            for key, setting in request.settings.items()
        }
        for key, value in (await self._router.settings.log(changes)).items():
            field = {bool: "bool_param", int: "uint32_param"}.get(type(value), "string_param")
            setattr(response.settings[key], field, value)

    async def _unplaced_inference(self, request: Any, _: Any) -> None:
        self._router.refuse_unplaced(request.model_name, request.model_version)

    # -- The repository ----------------------------------------------------------------------

    async def _repository_index(self, request: Any, response: Any) -> None:
        for entry in await self._repository.fresh_index({"ready": request.ready}):
            response.models.add(
                name=entry["name"],
                version=entry.get("version", ""),
                state=entry.get("state", ""),
                reason=entry.get("reason", ""),
            )

    async def _repository_load(self, request: Any, _: Any) -> None:
        await self._act(request, "load")

    async def _repository_unload(self, request: Any, _: Any) -> None:
        await self._act(request, "unload")

    async def _act(self, request: Any, word: str) -> None:
        parameters = {
            key: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
            for key, value in request.parameters.items()
        }
        await self._repository.act(
            request.model_name, word, {"parameters": parameters} if parameters else {}
        )

    # -- Health ------------------------------------------------------------------------------

    async def _health_check(self, request: Any, response: Any) -> None:
        status = self.health(request.service)
        if status == _SERVICE_UNKNOWN:
            raise not_found(f"there is no service or model '{request.service[:200]}'")
        response.status = status

    async def _health_watch(self, request: Any, response: Any) -> None:
        """How it is now: the gateway asks again and again, and says what has changed."""
        response.status = self.health(request.service)

    def health(self, service: str) -> int:
        if service in _OF_THE_SERVER:
            return _NOT_SERVING if self._router.why_not_ready() else _SERVING
        try:
            self._router.check_model_ready(service, "")
        except NotServed:
            return _NOT_SERVING
        except Error:
            return _SERVICE_UNKNOWN
        return _SERVING


async def _reflect(request: Any, response: Any) -> None:
    reflect(request, response)


def _unimplemented(path: str, *, known: bool) -> Error:
    shown = path[:_PATH_CHARACTERS_MAX]
    if known:
        why = "this server does not offer it"
    else:
        why = f"there is no such RPC{did_you_mean(shown, list(descriptors.methods()))}"
    return Error("UNIMPLEMENTED", f"{shown}: {why}")
