"""A server whose models come and go: asking it, and putting versions where it looks for them."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.serve import payload
from bench.serve.rows.session import REFERENCES, Session, WrongAnswerError

COLUMNS = 16
GONE_TIMEOUT_S = 30.0


def made_small(session: Session, last: int) -> Path:
    """A directory with one file for each version from 1 on: y = x * version."""
    folder = session.scratch / "scaled"
    folder.mkdir(exist_ok=True)
    if not (folder / f"{last}.onnx").exists():
        _make(session, "small", str(folder), "1", str(last))
    return folder


def made_large(session: Session, size_bytes: int) -> Path:
    file = session.scratch / f"large-{size_bytes}.onnx"
    if not file.exists():
        _make(session, "large", str(file), str(size_bytes))
    return file


def _make(session: Session, *arguments: str) -> None:
    program = [str(session.installation.python), str(REFERENCES / "make_scaled.py")]
    subprocess.run([*program, *arguments], check=True)


def request(model: str) -> payload.Request:
    """One row of ones, answered in raw bytes, with what the server knows of the time it took."""
    data = payload.floats(0, seed=1) + b"\0\0\x80\x3f" * COLUMNS
    plain = payload.binary_request(model, "x", [1, COLUMNS], data)
    return payload.Request(plain.path, (*plain.headers, ("Fastserve-Timing", "1")), plain.body)


@dataclass
class Repository:
    """Where the server looks for its models."""

    path: Path

    @classmethod
    def fresh(cls, session: Session, name: str) -> Repository:
        path = session.scratch / f"repository_{name}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return cls(path)

    def put(self, model: str, version: int, file: Path) -> None:
        """All at once: the directory is renamed into its place."""
        hidden = self.path / model / f".{version}"
        hidden.mkdir(parents=True)
        os.link(file, hidden / "model.onnx")
        hidden.rename(self.path / model / str(version))

    def take_away(self, model: str, version: int) -> None:
        shutil.rmtree(self.path / model / str(version))


class Peer:
    """One connection to the server's repository API."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, model: str) -> None:
        self._post(f"models/{quote(model, safe='')}/load")

    def unload(self, model: str, *, until_gone: bool = True) -> None:
        self._post(f"models/{quote(model, safe='')}/unload")
        deadline_s = time.monotonic() + GONE_TIMEOUT_S
        while until_gone and "UNLOADING" in self.states(model):
            if time.monotonic() > deadline_s:
                raise WrongAnswerError(f"{model} is not gone after {GONE_TIMEOUT_S:.0f} s")
            time.sleep(0.001)

    def index(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads(self._post("index"))
        return entries

    def states(self, model: str) -> set[str]:
        return {entry.get("state", "") for entry in self.index() if entry["name"] == model}

    def _post(self, path: str) -> bytes:
        self._connection.request("POST", f"/v2/repository/{path}", b"{}")
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise WrongAnswerError(f"{path}: {answer.status} {body[:300]!r}")
        return body
