"""Reading a version's files so that the models beside it do not notice.

A large file is paged in by a thread of its own, which asks the disk only for what nobody else
wants; the engine then finds it in memory. What makes an engine must not be that thread: the
engine's own threads inherit its priorities for ever.

Only the disk is asked gently. A lower priority for the processor was tried, and is worse: a thread
that has one and wants the GIL makes whoever gives it up wait until it has had its turn. With all
cores busy such a thread, which reads by the megabyte, takes many times as long and now and then
holds up the models beside it for longer than all the rest of a load.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from fastserve.errors import Error

# Smaller ones are read as soon as a thread is made.
_SMALL_BYTES = 4 << 20
# ioprio_set(2): its number, for a thread, and the class that is served when no other is.
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS, _IOPRIO_IDLE = 1, 3 << 13
# What one call of the kernel reads: a model's file is a few of them.
_PAGED_BYTES = 256 << 20
# What is hashed at once: a millisecond or two.
_HASHED_BYTES = 1 << 20


def page_in(paths: Sequence[Path]) -> None:
    """Read large files into the page cache; returns when they are there, soon if they were.

    Those that are gone or may not be read are left out: whether they are needed the engine knows.
    Errors: DATA_LOSS naming the file that cannot be read to its end.
    """
    large = [path for path in paths if size_of(path) > _SMALL_BYTES]
    if not large:
        return
    failures: list[Error] = []
    thread = threading.Thread(target=_page_in_gently, args=(large, failures), name="fastserve-read")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _page_in_gently(paths: Sequence[Path], failures: list[Error]) -> None:
    _yield_the_disk()
    for path in paths:
        try:
            _page_in(path)
        except (FileNotFoundError, PermissionError):
            continue
        except OSError as error:
            failures.append(unreadable(path, error))
            return


def _yield_the_disk() -> None:
    """For this thread alone. Where that is not granted, or has no effect, the disk is shared."""
    import ctypes  # Only for those who have large files.

    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE)


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

    Errors: NOT_FOUND, PERMISSION_DENIED, DATA_LOSS, naming the file.
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

    Errors: as checksum.
    """
    paths = sorted(files)
    digest = hashlib.sha256()
    top = os.path.commonpath([path.parent for path in paths]) if paths else ""
    for path in paths:
        name = os.fsencode(path.relative_to(top))
        digest.update(b"%d %s %s\n" % (len(name), name, checksum(path).encode()))
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Of a file that may be gone: then 0."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def unreadable(path: Path, error: OSError) -> Error:
    """An error of the system, by the file's name."""
    code = {errno.ENOENT: "NOT_FOUND", errno.EACCES: "PERMISSION_DENIED"}.get(error.errno or 0)
    return Error(code or "DATA_LOSS", f"{path}: {error.strerror or error}")
