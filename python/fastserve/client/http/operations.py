"""Everything but inferences, as requests of the REST protocol and its extensions."""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from fastserve.client.deadline import Deadline
from fastserve.client.results import ModelMetadata, ModelState, ServerMetadata, TensorMetadata

# What servers of this protocol say of health when they are not well.
_UNWELL = (400, 404, 503)


class HttpOperations(ABC):
    @abstractmethod
    async def ask(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        value: Mapping[str, Any] | None = None,
        *,
        ok: tuple[int, ...] = (),
    ) -> tuple[int, Any]: ...

    async def _is_well(self, path: str, deadline: Deadline) -> bool:
        status, _ = await self.ask("GET", path, deadline, ok=(200, *_UNWELL))
        return status == 200

    async def is_live(self, deadline: Deadline) -> bool:
        return await self._is_well("/v2/health/live", deadline)

    async def is_ready(self, deadline: Deadline) -> bool:
        return await self._is_well("/v2/health/ready", deadline)

    async def is_model_ready(self, model: str, version: str, deadline: Deadline) -> bool:
        return await self._is_well(f"{model_path(model, version)}/ready", deadline)

    async def server_metadata(self, deadline: Deadline) -> ServerMetadata:
        _, said = await self.ask("GET", "/v2", deadline)
        return ServerMetadata(said["name"], said["version"], tuple(said.get("extensions", ())))

    async def model_metadata(self, model: str, version: str, deadline: Deadline) -> ModelMetadata:
        _, said = await self.ask("GET", model_path(model, version), deadline)
        return ModelMetadata(
            said["name"],
            tuple(said.get("versions") or ()),
            said.get("platform", ""),
            _tensors(said.get("inputs")),
            _tensors(said.get("outputs")),
        )

    async def model_config(self, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        _, said = await self.ask("GET", f"{model_path(model, version)}/config", deadline)
        return dict(said)

    async def statistics(self, model: str, version: str, deadline: Deadline) -> list[Any]:
        path = f"{model_path(model, version)}/stats" if model else "/v2/models/stats"
        _, said = await self.ask("GET", path, deadline)
        return list(said["model_stats"])

    async def models(self, deadline: Deadline) -> list[ModelState]:
        _, said = await self.ask("POST", "/v2/repository/index", deadline, {})
        return [
            ModelState(
                entry["name"],
                entry.get("version", ""),
                entry.get("state", ""),
                entry.get("reason", ""),
            )
            for entry in said
        ]

    async def load(
        self,
        model: str,
        config: Mapping[str, Any] | None,
        files: Mapping[str, bytes],
        deadline: Deadline,
    ) -> None:
        parameters = {
            f"file:{place}": base64.b64encode(content).decode() for place, content in files.items()
        }
        if config is not None:
            parameters["config"] = json.dumps(config)
        value = {"parameters": parameters} if parameters else {}
        await self.ask("POST", _repository_path(model, "load"), deadline, value)

    async def unload(self, model: str, dependents: bool, deadline: Deadline) -> None:
        value = {"parameters": {"unload_dependents": dependents}}
        await self.ask("POST", _repository_path(model, "unload"), deadline, value)


@lru_cache(maxsize=1024)  # Every inference asks.
def model_path(model: str, version: str) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def _repository_path(model: str, word: str) -> str:
    return f"/v2/repository/models/{quote(model, safe='')}/{word}"


def _tensors(said: Any) -> tuple[TensorMetadata, ...]:
    return tuple(
        TensorMetadata(one["name"], one["datatype"], tuple(one["shape"])) for one in said or ()
    )
