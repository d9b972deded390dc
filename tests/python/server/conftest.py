"""What these tests share: real `fastserve run` processes, each on a port of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import cores

ROOT = Path(__file__).resolve().parents[3]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
MODELS = ROOT / "tests" / "models"
LIMIT_S = 60.0
POLL_S = 0.02
# What a developer's shell may hold would change what the tests see.
CLEAN = {name: text for name, text in os.environ.items() if not name.startswith("FASTSERVE_")}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def until(done: Callable[[], Any], what: str) -> Any:
    """Poll, at most until the limit; what `done` said in the end."""
    deadline_s = time.monotonic() + LIMIT_S
    while not (answer := done()):
        assert time.monotonic() < deadline_s, f"waited too long for {what}"
        time.sleep(POLL_S)
    return answer


@dataclass
class Running:
    """A server process. Its log is a file: a pipe that nobody reads fills and blocks."""

    process: subprocess.Popen[bytes]
    log_path: Path
    port: int = 0
    sent: int = field(default=0)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def listen_line(self) -> re.Match[str] | None:
        assert self.process.poll() is None, f"it ended by itself:\n{self.log()}"
        return re.search(r"listening on http://[^:\s]+:(\d+)", self.log())

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One round trip on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            self.sent += 1
            return Reply(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def infer(self, model: str, tensor: Mapping[str, Any]) -> Reply:
        body = json.dumps({"inputs": [tensor]}).encode()
        return self.request("POST", f"/v2/models/{model}/infer", body)

    def await_ready(self) -> Running:
        until(lambda: self.is_alive() and self.get("/v2/health/ready").status == 200, "readiness")
        return self

    def is_alive(self) -> bool:
        assert self.process.poll() is None, f"it ended by itself:\n{self.log()}"
        return True

    def await_log(self, text: str) -> str:
        until(lambda: text in self.log(), f"{text!r} in the log:\n{self.log()}")
        return self.log()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "fastserve", *map(str, arguments)]


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Running]]:
    """Start `fastserve run`, on a free port unless one is given, and wait until it listens."""
    running: list[Running] = []

    def begin(
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        new_group: bool = False,
        awaits_socket: bool = True,
    ) -> Running:
        log_path = tmp_path / f"server-{len(running)}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command("run", *([] if "--port" in arguments else ["--port", "0"]), *arguments),
                env={**CLEAN, **cores.environment(), **(environment or {})},
                stdin=stdin,
                stdout=log,
                stderr=log,
                process_group=0 if new_group else None,
            )
        server = Running(process, log_path)
        running.append(server)
        if awaits_socket:
            server.port = int(until(server.listen_line, "the socket")[1])
        return server

    yield begin
    for server in running:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()


@pytest.fixture
def fastserve() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command that ends by itself."""

    def run(
        *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            env={**CLEAN, **cores.environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    return run


@pytest.fixture
def repository(tmp_path) -> Path:
    """An empty repository; add_identity() fills it."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def add_identity(repository: Path, name: str, *, delay_us: int = 0, extra: str = "") -> None:
    """A model that answers y = x for two numbers, after `delay_us`."""
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(
        f"""backend: "identity"
max_batch_size: 0
input [ {{ name: "x" data_type: TYPE_FP32 dims: [ 2 ] }} ]
output [ {{ name: "y" data_type: TYPE_FP32 dims: [ 2 ] }} ]
parameters {{ key: "delay_us" value {{ string_value: "{delay_us}" }} }}
{extra}"""
    )


PAIR = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1.5, -2.0]}


def add_digits(repository: Path, name: str = "digits", version: int = 1) -> None:
    folder = repository / name / str(version)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(DIGITS.read_bytes())
