"""TraceFile: traces as files of JSON, each of them an array and whole at any moment.

    FILE      all traces
    FILE.0    the first n of them, FILE.1 the next n...: with a log_frequency of n

A file of an earlier server is replaced, never appended to, and never through a link. What cannot be
written (a full disk, a folder that went away) is lost, counted and logged; it harms nobody.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastserve.config.units import format_bytes
from fastserve.errors import invalid
from fastserve.server.tracing.entries import entries

# Records that wait for a slow disk; more are lost.
WAITING_MAX = 65_536
_END = b"\n]\n"
Record = Mapping[str, Any]


def check_path(path: str) -> None:
    """Whether traces can be written there. Errors: INVALID_ARGUMENT."""
    folder = Path(path).parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise invalid(f"--trace-file {path}: there is no folder {folder} that can be written to")
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise invalid(f"--trace-file {path}: it exists and is no regular file")


class _Array:
    """One file. Errors: OSError; what was written before stays whole."""

    def __init__(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise OSError(f"{path} is no regular file")
            os.unlink(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o640)
        self._end = 0  # Of the last element.
        self.traces = 0

    def add(self, elements: Sequence[bytes], traces: int) -> int:
        """How many bytes it took."""
        start = b",\n" if self._end else b"[\n"
        data = start + b",\n".join(elements)
        try:
            _write_all(self._fd, data + _END, self._end)
        except OSError:
            # Cutting takes no room: the array ends where it ended.
            os.ftruncate(self._fd, self._end + len(_END) if self._end else 0)
            if self._end:
                _write_all(self._fd, _END, self._end)
            raise
        self._end += len(data)
        self.traces += traces
        return len(data)

    def close(self) -> None:
        os.close(self._fd)


def _write_all(fd: int, data: bytes, at: int) -> None:
    while data:
        count = os.pwrite(fd, data, at)
        data, at = data[count:], at + count


class TraceFile:
    """Threads: any for write() and close(); files are written on a thread of its own.

    `warn` is called on that thread, at most once until something could be written again.
    """

    def __init__(self, path: str, bytes_max: int, warn: Callable[[str], None]) -> None:
        self._path = path
        self._bytes_left = self._bytes_max = bytes_max
        self._warn = warn
        # Who it belongs to, how many traces a file holds (0: all), and the records.
        self._queue: queue.SimpleQueue[tuple[str, int, Sequence[Record]] | None]
        self._queue = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._whole: _Array | None = None
        self._parts: dict[str, _Array] = {}
        self._next_part = 0
        self._number = 0
        self._has_failed = False
        self.lost = 0

    def write(self, owner: str, frequency: int, records: Sequence[Record]) -> None:
        """Soon. Those of one owner share its files of `frequency` traces each."""
        with self._lock:
            if self._waiting + len(records) > WAITING_MAX:
                self.lost += len(records)
                return
            self._waiting += len(records)
            if self._thread is None:
                # A daemon: a disk that hangs must not keep the process from ending.
                self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
                self._thread.start()
        self._queue.put((owner, frequency, records))

    def close(self, timeout_s: float) -> None:
        """Until what was given is written, for that long at most."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout_s)

    # -- On its thread -----------------------------------------------------------------------

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            owner, frequency, records = item
            try:
                self._write(owner, frequency, list(records))
            finally:
                with self._lock:
                    self._waiting -= len(records)
        for array in filter(None, (self._whole, *self._parts.values())):
            array.close()

    def _write(self, owner: str, frequency: int, records: list[Record]) -> None:
        while records:
            part = self._parts.get(owner)
            room = len(records)
            if frequency:
                room = max(frequency - (part.traces if part is not None else 0), 1)
            now, records = records[:room], records[room:]
            try:
                self._add(owner, frequency, now)
            except OSError as error:
                self._fail(len(now), error.strerror or str(error))
            else:
                self._has_failed = False

    def _add(self, owner: str, frequency: int, records: list[Record]) -> None:
        if self._bytes_left <= 0:
            limit = format_bytes(self._bytes_max)
            raise OSError(errno.EDQUOT, f"{limit} were written, which is --max-trace-bytes")
        elements = []
        for record in records:
            self._number += 1
            elements += [json.dumps(entry).encode() for entry in entries(self._number, record)]
        array = self._open(owner, frequency)
        self._bytes_left -= array.add(elements, len(records))
        if frequency and array.traces >= frequency:
            self._parts.pop(owner).close()

    def _open(self, owner: str, frequency: int) -> _Array:
        if not frequency:
            if self._whole is None:
                self._whole = _Array(self._path)
            return self._whole
        if owner not in self._parts:
            self._parts[owner] = _Array(f"{self._path}.{self._next_part}")
            self._next_part += 1
        return self._parts[owner]

    def _fail(self, count: int, why: str) -> None:
        with self._lock:
            self.lost += count
        if not self._has_failed:
            self._has_failed = True
            self._warn(f"traces are not written to {self._path} any more: {why}; serving goes on")
