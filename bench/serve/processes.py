"""Servers as child processes: started, awaited, metered, stopped."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from bench.serve import exchange, procfs


class ServerError(Exception):
    """A server did not start, or died."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_ready(port: int) -> bool:
    """One attempt at GET /v2/health/ready."""
    try:
        return exchange.get(port, "/v2/health/ready").status == 200
    except (OSError, ValueError, KeyError):
        return False


class Server:
    """One running server on one port; a context manager that stops it on exit.

    `command` gets the port where it says `{port}`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        scratch: Path,
        cwd: Path | None = None,
        ready: Callable[[int], bool] = is_ready,
    ) -> None:
        self.name = name
        self._is_ready = ready
        self.port = free_port()
        self._template = list(command)
        self._cwd = cwd
        self._log_path = scratch / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self.command, cwd=self._cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def command(self) -> list[str]:
        return [part.replace("{port}", str(self.port)) for part in self._template]

    def move_to(self, port: int) -> None:
        """Takes effect at the next start."""
        self.port = port

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    def _await_ready(self, limit_s: float = 60.0) -> None:
        deadline = time.monotonic() + limit_s
        while not self._is_ready(self.port):
            if self._process is None or self._process.poll() is not None:
                raise ServerError(f"{self.name} ended before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} is not ready after {limit_s:.0f} s")
            time.sleep(0.02)

    def log_tail(self) -> str:
        return self._log_path.read_text(errors="replace")[-2000:]

    def cpu_ticks(self) -> int:
        """utime + stime of the whole process tree so far."""
        return procfs.tree_ticks(self.pid)

    def stop(self, limit_s: float = 10.0) -> None:
        """Ends this process, and only this one, politely first."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
