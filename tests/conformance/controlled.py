"""A server whose models come and go, and what such suites do with it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http

from tests.served import Answer, Server

TIMEOUT_S = 30.0
ONES = np.ones((1, 2), np.float32)


@dataclass
class Controlled:
    """A server and its repository, and Triton's client of it."""

    server: Server
    repository: Path
    client: tritonclient.http.InferenceServerClient

    def put(self, model: str, version: int, content: bytes, config: str = "") -> None:
        """All at once, as whoever publishes a version should."""
        hidden = self.repository / model / f".{version}"
        hidden.mkdir(parents=True, exist_ok=True)
        (hidden / "model.onnx").write_bytes(content)
        if config:
            (self.repository / model / "config.pbtxt").write_text(config)
        os.rename(hidden, self.repository / model / str(version))

    def take_away(self, model: str, version: int) -> None:
        shutil.rmtree(self.repository / model / str(version))

    def entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.client.get_model_repository_index()
        return entries

    def entry(self, model: str, version: int) -> dict[str, Any]:
        """What the index says of a version; nothing if it does not know it."""
        for entry in self.entries():
            if (entry["name"], entry.get("version")) == (model, str(version)):
                return entry
        return {}

    def index(self) -> dict[str, dict[str, str]]:
        """version -> state, by model."""
        found: dict[str, dict[str, str]] = {}
        for entry in self.entries():
            versions = found.setdefault(entry["name"], {})
            if "version" in entry:
                versions[entry["version"]] = entry["state"]
        return found

    def change(self, model: str, word: str, body: Any = None) -> Answer:
        """POST to /v2/repository/models/MODEL/WORD."""
        path = f"/v2/repository/models/{model}/{word}"
        return self.server.request("POST", path, json.dumps(body or {}).encode())

    def ask(self, model: str = "m", version: str = "") -> tuple[int, int]:
        """The version that an answer says it is from, and the one that its numbers are from."""
        x = tritonclient.http.InferInput("x", [1, 2], "FP32")
        x.set_data_from_numpy(ONES)
        answer = self.client.infer(model, [x], model_version=version)
        return int(answer.get_response()["model_version"]), round(float(answer.as_numpy("y")[0, 0]))


def eventually(is_so: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"{what} did not happen"
        time.sleep(0.01)
