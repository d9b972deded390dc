"""What these tests share: models that need no file of weights, and a client for listeners."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fastserve

ROOT = Path(__file__).resolve().parents[3]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
MODELS = ROOT / "tests" / "models"
LIMIT_S = 60.0


@pytest.fixture
def digits() -> Path:
    return DIGITS


@pytest.fixture
def add_mul() -> Path:
    return MODELS / "add_mul.onnx"


@pytest.fixture
def server() -> Iterator[fastserve.Server]:
    with fastserve.Server(drain_timeout=LIMIT_S) as made:
        yield made


@pytest.fixture
def repository(tmp_path) -> Callable[..., Path]:
    """Writes a model that answers y = x for rows of two numbers, after `delay_us`; its folder."""

    def add(
        name: str = "echo", *, delay_us: int = 0, versions: tuple[int, ...] = (1,), more: str = ""
    ) -> Path:
        folder = tmp_path / "models" / name
        for version in versions:
            (folder / str(version)).mkdir(parents=True)
        (folder / "config.pbtxt").write_text(
            f"""backend: "identity"
max_batch_size: 32
dynamic_batching {{ }}
input {{ name: "x" data_type: TYPE_FP32 dims: [ 2 ] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ 2 ] }}
parameters {{ key: "delay_us" value {{ string_value: "{delay_us}" }} }}
{more}"""
        )
        return folder

    return add


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def ask() -> Callable[..., Reply]:
    """One round trip to a listener, on a connection of its own."""

    def request(listener: fastserve.Listener, path: str, body: Any = None) -> Reply:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", listener.port, timeout=LIMIT_S)
        ) as connection:
            data = None if body is None else json.dumps(body).encode()
            connection.request("GET" if body is None else "POST", path, data)
            response = connection.getresponse()
            return Reply(response.status, response.read())

    return request


@pytest.fixture
def echo_body() -> dict[str, Any]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2.0]}
    return {"inputs": [tensor]}


@pytest.fixture(params=["asyncio", "uvloop"])
def run_async(request) -> Callable[..., Any]:
    """Runs a coroutine to its end, on either kind of event loop."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop

    def run(coroutine: Any) -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(coroutine)

    return run


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_of_listeners(request, monkeypatch) -> str:
    """Which kind of event loop a listener's own thread runs."""
    if request.param == "asyncio":
        stock = "fastserve.embed.listener.loop_factory"
        monkeypatch.setattr(stock, lambda: asyncio.new_event_loop)
    else:
        pytest.importorskip("uvloop")
    return str(request.param)
