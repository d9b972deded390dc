"""Everything but inferences, as RPCs of inference.GRPCInferenceService."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError

from fastserve.client.call_error import CallError
from fastserve.client.deadline import Deadline
from fastserve.client.grpc.messages import plain
from fastserve.client.results import ModelMetadata, ModelState, ServerMetadata, TensorMetadata
from fastserve.rpc import descriptors


class GrpcOperations(ABC):
    @abstractmethod
    async def call(self, path: str, message: bytes, deadline: Deadline) -> bytes: ...

    async def _ask(self, rpc: str, deadline: Deadline, **fields: Any) -> Any:
        path = f"/{descriptors.INFERENCE}/{rpc}"
        takes, gives = descriptors.methods()[path]
        answer = await self.call(path, takes(**fields).SerializeToString(), deadline)
        response = gives()
        try:
            response.ParseFromString(answer)
        except DecodeError:
            name = response.DESCRIPTOR.full_name
            raise CallError("INTERNAL", f"the answer is no protobuf of {name}") from None
        return response

    async def is_live(self, deadline: Deadline) -> bool:
        return bool((await self._ask("ServerLive", deadline)).live)

    async def is_ready(self, deadline: Deadline) -> bool:
        return bool((await self._ask("ServerReady", deadline)).ready)

    async def is_model_ready(self, model: str, version: str, deadline: Deadline) -> bool:
        """Servers differ in whether a model that is not there is an error."""
        try:
            said = await self._ask("ModelReady", deadline, name=model, version=version)
        except CallError as error:
            if error.code in ("NOT_FOUND", "UNAVAILABLE", "INVALID_ARGUMENT") and error.is_answer:
                return False
            raise
        return bool(said.ready)

    async def server_metadata(self, deadline: Deadline) -> ServerMetadata:
        said = await self._ask("ServerMetadata", deadline)
        return ServerMetadata(said.name, said.version, tuple(said.extensions))

    async def model_metadata(self, model: str, version: str, deadline: Deadline) -> ModelMetadata:
        said = await self._ask("ModelMetadata", deadline, name=model, version=version)
        return ModelMetadata(
            said.name,
            tuple(said.versions),
            said.platform,
            _tensors(said.inputs),
            _tensors(said.outputs),
        )

    async def model_config(self, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        return plain((await self._ask("ModelConfig", deadline, name=model, version=version)).config)

    async def statistics(self, model: str, version: str, deadline: Deadline) -> list[Any]:
        said = await self._ask("ModelStatistics", deadline, name=model, version=version)
        return [plain(one) for one in said.model_stats]

    async def models(self, deadline: Deadline) -> list[ModelState]:
        said = await self._ask("RepositoryIndex", deadline)
        return [ModelState(one.name, one.version, one.state, one.reason) for one in said.models]

    async def load(
        self,
        model: str,
        config: Mapping[str, Any] | None,
        files: Mapping[str, bytes],
        deadline: Deadline,
    ) -> None:
        value = descriptors.message_class("inference.ModelRepositoryParameter")
        parameters = {f"file:{place}": value(bytes_param=files[place]) for place in files}
        if config is not None:
            parameters["config"] = value(string_param=json.dumps(config))
        await self._ask("RepositoryModelLoad", deadline, model_name=model, parameters=parameters)

    async def unload(self, model: str, dependents: bool, deadline: Deadline) -> None:
        value = descriptors.message_class("inference.ModelRepositoryParameter")
        parameters = {"unload_dependents": value(bool_param=dependents)}
        await self._ask("RepositoryModelUnload", deadline, model_name=model, parameters=parameters)


def _tensors(said: Any) -> tuple[TensorMetadata, ...]:
    return tuple(TensorMetadata(one.name, one.datatype, tuple(one.shape)) for one in said)
