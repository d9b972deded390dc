"""Reading a version's files so that the models beside it do not notice.

An engine that opens a large file waits for the disk at serving priority. So a thread of its own
pages the files in first, at the lowest priority for the processor and, as Linux derives one from
the other, a low one for the disk; the engine then finds them in memory. The thread that makes an
engine must never be the one that was slowed: the engine's own threads inherit its priority for
ever.

What the slow thread does, it does in the kernel. One of low priority that asks for the GIL makes
whoever gives it up wait until it has had its turn, so it must not come back for each megabyte.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from fastserve.errors import Error

_NICE_MAX = 19
# What one call of the kernel reads: a model's file is a few of them.
_PAGED_BYTES = 256 << 20
# What is hashed at once: a millisecond or two.
_HASHED_BYTES = 1 << 20


def page_in(paths: Sequence[Path]) -> None:
    """Read files into the page cache; returns when they are there, soon if they were.

    Errors: DATA_LOSS naming the file that cannot be read to its end, PERMISSION_DENIED, NOT_FOUND.
    """
    if not paths:
        return
    failures: list[Error] = []
    thread = threading.Thread(target=_page_in_gently, args=(paths, failures), name="fastserve-read")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _page_in_gently(paths: Sequence[Path], failures: list[Error]) -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE_MAX)
    for path in paths:
        try:
            _page_in(path)
        except OSError as error:
            failures.append(unreadable(path, error))
            return


def _page_in(path: Path) -> None:
    """Sending a file to nowhere reads it without a copy, and without coming back in between."""
    with path.open("rb", buffering=0) as file, Path(os.devnull).open("wb", buffering=0) as nowhere:
        offset = 0
        try:
            while sent := os.sendfile(nowhere.fileno(), file.fileno(), offset, _PAGED_BYTES):
                offset += sent
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            # A file system that cannot: then it is copied, too.
            buffer = bytearray(_HASHED_BYTES)
            while file.readinto(buffer):
                continue


def checksum(path: Path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it.

    Threads: any. Hashing runs at the thread's own priority, since it comes and goes with the GIL;
    it waits as long as it works, and so takes half a core at most.

    Errors: as page_in.
    """
    page_in([path])
    digest = hashlib.sha256()
    pause = threading.Event()  # Never set: only its waiting is used.
    buffer = memoryview(bytearray(_HASHED_BYTES))
    try:
        with path.open("rb", buffering=0) as file:
            start_s = time.monotonic()
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                pause.wait(time.monotonic() - start_s)
                start_s = time.monotonic()
    except OSError as error:
        raise unreadable(path, error) from None
    return digest.hexdigest()


def checksum_version(files: Iterable[Path]) -> str:
    """One digest of the files of a version: of their names, below the folder that holds them all,
    and of what is in them, in whatever order they come.

    Errors: as page_in.
    """
    paths = sorted(files)
    digest = hashlib.sha256()
    top = os.path.commonpath([path.parent for path in paths]) if paths else ""
    for path in paths:
        name = os.fsencode(path.relative_to(top))
        digest.update(b"%d %s %s\n" % (len(name), name, checksum(path).encode()))
    return digest.hexdigest()


def unreadable(path: Path, error: OSError) -> Error:
    """An error of the system, by the file's name."""
    code = {errno.ENOENT: "NOT_FOUND", errno.EACCES: "PERMISSION_DENIED"}.get(error.errno or 0)
    return Error(code or "DATA_LOSS", f"{path}: {error.strerror or error}")
