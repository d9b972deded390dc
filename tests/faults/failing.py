"""Makes calls of the C library fail in a server: the other half of failing.c.

calls = FailingCalls(tmp_path)
with Server(models, environment=calls.environment) as server:
    calls["accept4"].fail(times=1, error=errno.ENOMEM)
    ...
"""

import errno
import mmap
import os
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("failing.c")
# In the order of `enum call`.
CALLS = ("eventfd", "pthread_create", "accept4", "epoll_ctl", "aligned_alloc", "malloc")
FIELDS = ("seen", "failed", "fail_from", "fail_until", "error", "bytes_min", "spares_python")
FIELD_BYTES = 8
ERRORS = {
    "eventfd": errno.EMFILE,
    "pthread_create": errno.EAGAIN,
    "accept4": errno.EMFILE,
    "epoll_ctl": errno.ENOMEM,
    "aligned_alloc": errno.ENOMEM,
    "malloc": errno.ENOMEM,
}
BYTES_MIN = {"aligned_alloc": 16 << 10, "malloc": 256 << 10}


def build(folder: Path) -> Path:
    """The library, compiled."""
    library = folder / "libfailing.so"
    flags = ("-O1", "-Wall", "-Werror", "-shared", "-fPIC")
    command: list[str | Path] = ["cc", *flags, "-o", library, SOURCE, "-ldl"]
    subprocess.run(command, check=True)
    return library


class Call:
    """One function of the C library, in the program that has the library preloaded."""

    def __init__(self, shared: mmap.mmap, name: str) -> None:
        self._shared = shared
        self._begin = CALLS.index(name) * len(FIELDS) * FIELD_BYTES
        self._set("error", ERRORS[name])
        self._set("bytes_min", BYTES_MIN.get(name, 0))

    def spare_python(self, bytes_min: int) -> None:
        """Count what libraries ask for, from `bytes_min` on, and not what the interpreter does.

        CPython 3.13 takes for granted that its table of interned strings can grow, and crashes.
        """
        self._set("bytes_min", bytes_min)
        self._set("spares_python", 1)

    @property
    def seen(self) -> int:
        return self._get("seen")

    @property
    def failed(self) -> int:
        return self._get("failed")

    def fail_number(self, number: int) -> None:
        """That one alone, counted from 1 and from the program's start."""
        self._set("fail_until", number + 1)
        self._set("fail_from", number)

    def fail(self, times: int = 1, error: int | None = None, bytes_min: int | None = None) -> None:
        """The next ones."""
        self.succeed()
        if error is not None:
            self._set("error", error)
        if bytes_min is not None:
            self._set("bytes_min", bytes_min)
        self._set("failed", 0)
        first = self.seen + 1
        self._set("fail_until", first + times)
        self._set("fail_from", first)

    def fail_after(self, number: int) -> None:
        """The one that comes after that many others."""
        self.fail_number(self.seen + 1 + number)

    def succeed(self) -> None:
        self._set("fail_from", 0)

    def _get(self, field: str) -> int:
        value: int = struct.unpack_from("q", self._shared, self._place(field))[0]
        return value

    def _set(self, field: str, value: int) -> None:
        struct.pack_into("q", self._shared, self._place(field), value)

    def _place(self, field: str) -> int:
        return self._begin + FIELDS.index(field) * FIELD_BYTES


class FailingCalls:
    """What a server is started with so that its calls can be failed, now or while it runs."""

    def __init__(self, library: Path, folder: Path) -> None:
        path = folder / "failing-calls"
        size = len(CALLS) * len(FIELDS) * FIELD_BYTES
        path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            shared = mmap.mmap(file.fileno(), size)
        self._calls = {name: Call(shared, name) for name in CALLS}
        self.environment = {"LD_PRELOAD": os.fspath(library), "FAILING_CALLS": os.fspath(path)}

    def __getitem__(self, name: str) -> Call:
        return self._calls[name]
