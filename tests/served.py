"""A fastserve process under test, and the model repository it serves.

    repository = Repository(tmp_path)
    repository.add("add_mul")
    with Server(repository.path, "--queue-depth", "4") as server:
        server.request("GET", "/v2/health/ready")

Leaving the block checks that the server is healthy and idle, asks it to end and insists on exit
code 0. A failing test shows the last
lines of every server that runs (tests/conftest.py).
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from tests import cores

EXECUTABLE = Path(sys.executable).with_name("fastserve")
MODELS = Path(__file__).parent / "models"
HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
IDLE_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 20.0
POLL_S = 0.02
LOG_TAIL_LINES = 40

# Batches are made on purpose: whoever arrives within the delay joins.
JOINING = """
max_batch_size: 32
dynamic_batching { max_queue_delay_microseconds: 100000 }
"""


class Repository:
    """A folder of models laid out as for Triton."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir(parents=True, exist_ok=True)

    def add(self, model: str, name: str = "", *, config: str = "") -> None:
        """A model of tests/models, under its own name or another."""
        folder = self._folder(name or model, config, 1)
        target = folder / "model.onnx"
        shutil.copyfile(MODELS / f"{model}.onnx", target)
        data = MODELS / f"{model}.bin"
        if data.exists():
            shutil.copyfile(data, folder / data.name)

    def add_made(self, name: str, content: bytes, *, config: str = "", version: int = 1) -> None:
        """A model that was just made; a config may stand with any of its versions."""
        (self._folder(name, config, version) / "model.onnx").write_bytes(content)

    def add_identity(
        self, name: str, *, datatype: str = "FP32", dims: str = "-1", delay_us: int = 0,
        more: str = "",
    ) -> None:  # fmt: skip
        """x comes back as y, after `delay_us` of pretended work."""
        config = f"""
            backend: "identity"
            input {{ name: "x" data_type: TYPE_{datatype} dims: [ {dims} ] }}
            output {{ name: "y" data_type: TYPE_{datatype} dims: [ {dims} ] }}
            parameters {{ key: "delay_us" value {{ string_value: "{delay_us}" }} }}
            {more}
        """
        self._folder(name, config, 1)

    def _folder(self, name: str, config: str, version: int) -> Path:
        folder = self.path / name / str(version)
        folder.mkdir(parents=True)
        if config:
            (self.path / name / "config.pbtxt").write_text(config, encoding="utf-8")
        return folder


@dataclass(frozen=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: Mapping[str, str]  # Names in lower case.
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an error, without the spaces that a printed shape may have."""
        assert self.headers.get("content-type", "").startswith("application/json"), self
        message = self.json["error"]
        assert isinstance(message, str), self
        assert message, self
        return message.replace(", ", ",")


class Metrics:
    """A scrape of /metrics."""

    def __init__(self, text: str) -> None:
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        self._samples = [line.rsplit(" ", 1) for line in lines]

    def sum(self, name: str, **labels: str) -> float:
        """All samples of a metric that have these labels; a metric that is not there fails."""
        values = [
            float(value)
            for sample, value in self._samples
            if sample.split("{")[0] == name
            and all(f'{key}="{text}"' in sample for key, text in labels.items())
        ]
        assert values, f"/metrics has no {name} with {labels}"
        return sum(values)


class Server:
    """`fastserve run` on a free port of this machine."""

    running: ClassVar[list["Server"]] = []

    def __init__(
        self,
        repository: Path,
        *flags: str,
        environment: Mapping[str, str] = {},
        prefix: Sequence[str] = (),
        models: Sequence[str] | None = None,
    ) -> None:
        """`prefix` is a command that becomes the server, as prlimit does. `models` are those that
        it must serve; all that are there, if nothing is said."""
        command = [str(EXECUTABLE), "run", str(repository), "--port", "0", *flags]
        self._command = [*prefix, *command]
        self._models = sorted(path.name for path in repository.iterdir())
        if models is not None:
            self._models = list(models)
        self._environment = environment
        self.port = 0

    def __enter__(self) -> Self:
        assert EXECUTABLE.exists(), f"{EXECUTABLE} is not there: install fastserve first"
        # A file, since a pipe that nobody reads fills and blocks.
        self._log = tempfile.TemporaryFile("a+b")
        settings = {k: v for k, v in os.environ.items() if not k.startswith("FASTSERVE_")}
        self._child = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**settings, **cores.environment(), **self._environment},
        )
        try:
            self._wait_until_ready()
            self._idle_gauges = self._gauges()
        except BaseException:
            self._kill()
            raise
        self.running.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self in self.running:
                self.running.remove(self)
                if kind is None:
                    self.check_healthy()
                self._terminate()
        finally:
            self._kill()

    def end(self) -> None:
        """SIGTERM, whatever goes on; it must end with status 0. The log can still be read."""
        self.running.remove(self)
        self._terminate()

    def kill(self) -> None:
        """SIGKILL, from which nothing can protect itself."""
        self.running.remove(self)
        self._child.kill()
        self._child.wait()

    def _terminate(self) -> None:
        self._child.terminate()
        try:
            code = self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the server ran on for {STOP_TIMEOUT_S:.0f} s after SIGTERM:\n{self.log_tail()}"
            ) from None
        assert code == 0, f"the server ended with {_ending(code)}:\n{self.log_tail()}"

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        return self._child.pid

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Answer:
        """One round trip on a connection of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, {"Connection": "close", **headers})
            response = connection.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lowered, response.read())
        finally:
            connection.close()

    def post(self, model: str, request: Any, headers: Mapping[str, str] = {}) -> Answer:
        """An inference; `request` is bytes, or what becomes JSON."""
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        return self.request("POST", f"/v2/models/{model}/infer", body, headers)

    def metrics(self) -> Metrics:
        answer = self.request("GET", "/metrics")
        assert answer.status == 200, answer
        return Metrics(answer.body.decode())

    def check_healthy(self) -> None:
        """It lives, is ready, and holds nothing of the requests before."""
        code = self._child.poll()
        assert code is None, f"the server ended with {_ending(code)}:\n{self.log_tail()}"
        ready = self.request("GET", "/v2/health/ready")
        assert ready.status == 200, ready
        self.wait_for(
            lambda: self._gauges() == self._idle_gauges,
            lambda: f"{self._gauges()} did not become {self._idle_gauges}\n{self.log_tail()}",
            IDLE_TIMEOUT_S,
        )

    def wait_for(
        self, holds: Callable[[], bool], what: Callable[[], str], timeout_s: float
    ) -> None:
        """Poll until it holds; the death of the server ends the wait."""
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline_s, f"after {timeout_s:.0f} s: {what()}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._child.wait(POLL_S)
                raise AssertionError(f"the server ended with {_ending(code)}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines that the server printed."""
        lines = self.log_text().splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:]) or "(it printed nothing)"

    def log_text(self) -> str:
        """All that the server printed."""
        # Not seek(): the server shares our position in the file.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def _gauges(self) -> dict[str, float]:
        """What is in flight; the scrape itself may count, so compare with an idle server's."""
        metrics = self.metrics()
        names = ("fastserve_in_flight_requests", "fastserve_in_flight_bytes")
        return {name: metrics.sum(name) for name in (*names, "fastserve_queue_depth")}

    def _wait_until_ready(self) -> None:
        """Until every load was tried; a model that did not load is a failure that says why."""

        def is_ready() -> bool:
            said = re.search(rf"http://{re.escape(HOST)}:(\d+)\s", self.log_text())
            if said is None:
                return False
            self.port = int(said[1])
            with contextlib.suppress(OSError):  # It may have died: wait_for() tells.
                return self.request("GET", "/v2/health/ready").status == 200
            return False

        self.wait_for(is_ready, lambda: f"not ready:\n{self.log_tail()}", START_TIMEOUT_S)
        for model in self._models:
            answer = self.request("GET", f"/v2/models/{_quoted(model)}/ready")
            assert answer.status == 200, f"{model} is not served: {answer}\n{self.log_tail()}"

    def _kill(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._log.close()


def _quoted(name: str) -> str:
    """Every byte of it, as a client may send it."""
    return "".join(f"%{byte:02X}" for byte in name.encode())


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"status {code}"


def log_sections() -> Iterator[tuple[str, str]]:
    """For the report of a failed test: what each running server printed last."""
    for server in Server.running:
        yield f"fastserve at {server.address}", server.log_tail()
