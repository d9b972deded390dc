"""Run `fastserve run MODEL` as a child process for as long as a `with` block lasts.

    with LocalServer(Path("digits.onnx")) as server:
        server.post(server.infer_path, body)

Standard library only: it is what a client in any language would do. One thread, one connection.
"""

import http.client
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
PORT_FIRST = 8000
PORTS_TRIED = 100
READY_TIMEOUT_S = 60.0
POLL_S = 0.05
STOP_TIMEOUT_S = 15.0
LOG_TAIL_LINES = 20


class ServerError(Exception):
    """The server did not start, did not answer, or answered with an error; says why."""


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose_port(wanted: int | None) -> int:
    """The wanted port if it is free, else a failure; with none wanted, the first free from 8000."""
    if wanted is not None:
        if not is_free(wanted):
            raise ServerError(f"port {wanted} is taken; name another with --port")
        return wanted
    for port in range(PORT_FIRST, PORT_FIRST + PORTS_TRIED):
        if is_free(port):
            return port
    raise ServerError(f"no free port from {PORT_FIRST} to {PORT_FIRST + PORTS_TRIED - 1}")


def executable() -> Path:
    """The fastserve command of the environment that runs this file."""
    path = Path(sys.executable).with_name("fastserve")
    if not path.exists():
        raise ServerError(
            f"{path} is not there: this Python has no fastserve. From the repository, `make run` "
            "builds it; to use another Python, `pip install .` with it first."
        )
    return path


class LocalServer:
    """A server of one model: started and ready on entry, drained and gone on exit."""

    def __init__(self, model: Path, *, name: str = "", port: int | None = None) -> None:
        self.model = model
        self.name = name or model.stem
        self.port = choose_port(port)
        self.url = f"http://{HOST}:{self.port}"
        self.infer_path = f"/v2/models/{self.name}/infer"
        self.start_s = 0.0
        # A file, since a pipe that nobody reads fills and blocks; appending, since the server
        # shares our position in it.
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - stop() closes it.
        self._connection = http.client.HTTPConnection(HOST, self.port, timeout=30)

    def __enter__(self) -> Self:
        began = time.monotonic()
        command = [str(executable()), "run", str(self.model)]
        command += ["--name", self.name, "--port", str(self.port)]
        # A group of its own: Ctrl-C reaches this program alone, which then stops the server.
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            self._wait_until_ready(began + READY_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise
        self.start_s = time.monotonic() - began
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_ready(self, deadline_s: float) -> None:
        """Until every load was tried; a model that did not load is a failure that says why."""
        while True:
            if self._child.poll() is not None:
                raise ServerError(f"the server ended with {self._ending()}")
            try:
                if self.request("GET", "/v2/health/ready")[0] == 200:
                    break
            except OSError:
                pass  # It does not listen yet.
            if time.monotonic() > deadline_s:
                raise ServerError(
                    f"the server was not ready after {READY_TIMEOUT_S:.0f} s:\n{self.log_tail()}"
                )
            time.sleep(POLL_S)
        status, _, body = self.request("GET", f"/v2/models/{self.name}/ready")
        if status != 200:
            raise ServerError(f"{self.model} is not served: {body.decode(errors='replace')}")

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One round trip on the kept connection: status, headers, body."""
        try:
            self._connection.request(method, path, body, dict(headers))
            response = self._connection.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise OSError(f"{method} {path}: {error or type(error).__name__}") from error

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str] = {}
    ) -> tuple[http.client.HTTPMessage, bytes]:
        """A POST that must succeed: headers and body of the answer."""
        status, answer_headers, answer = self.request("POST", path, body, headers)
        if status != 200:
            raise ServerError(f"POST {path}: status {status}: {answer.decode(errors='replace')}")
        return answer_headers, answer

    def wait(self) -> None:
        """Return never; raises when the server ends by itself, or whatever a signal raises."""
        self._child.wait()
        raise ServerError(f"the server ended with {self._ending()}")

    def stop(self) -> None:
        """Ask the server to drain and end; insist after a while, or on a second Ctrl-C."""
        self._connection.close()
        self._child.terminate()
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._child.kill()
            self._child.wait()
        self._log.close()

    def _ending(self) -> str:
        code = self._child.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        return f"{how}:\n{self.log_tail()}"

    def log_tail(self) -> str:
        """The last lines that the server printed."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:]) or "(it printed nothing)"
