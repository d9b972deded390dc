"""Files are paged in by a thread that is slow alone, and are told apart by their content."""

import ctypes
import errno
import hashlib
import os
import platform
import threading
from pathlib import Path

import pytest

from fastserve.control.loading import reading
from fastserve.control.loading.reading import checksum, checksum_version, page_in
from fastserve.errors import Error

IDLE = 3 << 13


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(os.urandom(reading._SMALL_BYTES + 17))
    return path


def disk_priority_here():
    """ioprio_get(2) of this thread; None where its number is not known."""
    number = {"x86_64": 252, "aarch64": 31}.get(platform.machine())
    return None if number is None else ctypes.CDLL(None).syscall(number, 1, 0)


def test_reading_yields_the_disk_and_nobody_else_does(file, monkeypatch):
    seen = []
    send = os.sendfile

    def watch(*arguments):
        seen.append((disk_priority_here(), threading.current_thread().name))
        return send(*arguments)

    monkeypatch.setattr(os, "sendfile", watch)
    before = disk_priority_here()
    page_in([file, file])
    wanted = None if before is None else IDLE
    assert seen == [(wanted, "fastserve-read")] * 4  # The second call for each finds its end.
    # What makes an engine makes its threads, which keep its priority for ever.
    after = []
    thread = threading.Thread(target=lambda: after.append(disk_priority_here()))
    thread.start()
    thread.join()
    assert [disk_priority_here(), *after] == [before, before]
    assert "fastserve-read" not in [thread.name for thread in threading.enumerate()]


# Wherever it waits for the GIL, everybody would wait with it.
def test_reading_keeps_its_priority_for_the_processor(file, monkeypatch):
    seen = []
    send = os.sendfile

    def watch(*arguments):
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return send(*arguments)

    monkeypatch.setattr(os, "sendfile", watch)
    page_in([file])
    assert set(seen) == {os.getpriority(os.PRIO_PROCESS, threading.get_native_id())}


def test_small_files_are_left_to_the_engine(tmp_path, monkeypatch):
    monkeypatch.setattr(threading, "Thread", None)
    (tmp_path / "small").write_bytes(bytes(100))
    page_in([tmp_path / "small"])
    page_in([])


def test_a_file_system_that_cannot_send_is_read(file, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", refuse)
    page_in([file])


# On a machine whose numbers nobody wrote down the disk is shared.
def test_a_priority_that_is_not_granted_is_done_without(file, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    page_in([file])


def test_a_disk_that_fails_is_told_by_the_name_of_the_file(file, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "sendfile", fail)
    with pytest.raises(Error) as caught:
        page_in([file])
    assert (caught.value.code, caught.value.message) == ("DATA_LOSS", f"{file}: Input/output error")


# Whether it is needed is known to the engine alone.
def test_a_file_that_nobody_may_read_is_left_out(file, tmp_path, monkeypatch):
    page_in([tmp_path / "gone"])

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    page_in([file])
    with pytest.raises(Error, match=r"model\.onnx: Permission denied$") as caught:
        checksum(file)
    assert caught.value.code == "PERMISSION_DENIED"


def test_a_checksum_is_that_of_sha256sum(file, tmp_path):
    assert checksum(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "empty").write_bytes(b"")
    assert checksum(tmp_path / "empty") == hashlib.sha256().hexdigest()
    with pytest.raises(Error, match="No such file"):
        checksum(tmp_path / "gone")


def test_a_version_is_told_by_its_names_and_what_is_in_them(tmp_path):
    def version(name, **files):
        folder = tmp_path / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return [path for path in folder.rglob("*") if path.is_file()]

    first = version("1", a=b"x", b=b"y")
    assert checksum_version(first) == checksum_version(reversed(first))
    # A copy elsewhere is the same version.
    assert checksum_version(first) == checksum_version(version("2", a=b"x", b=b"y"))
    others = [
        version("3", a=b"y", b=b"x"),
        version("4", a=b"x"),
        version("5", a=b"x", c=b"y"),
        version("6", a=b"x", b=b"z"),
        [],
    ]
    sums = [checksum_version(files) for files in (first, *others)]
    assert len(set(sums)) == len(sums)
