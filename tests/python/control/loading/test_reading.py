"""Files are paged in by a thread that is slow alone, and are told apart by their content."""

import errno
import hashlib
import os
import threading

import pytest

from fastserve.control.loading import reading
from fastserve.control.loading.reading import checksum, checksum_version, page_in
from fastserve.errors import Error


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(os.urandom(3 * reading._HASHED_BYTES + 17))
    return path


def niceness_of(tid):
    return os.getpriority(os.PRIO_PROCESS, tid)


def test_reading_is_slow_and_nobody_else_is(file, monkeypatch):
    seen = []
    send = os.sendfile

    def watch(*arguments):
        tid = threading.get_native_id()
        seen.append((niceness_of(tid), threading.current_thread().name))
        return send(*arguments)

    monkeypatch.setattr(os, "sendfile", watch)
    before = niceness_of(threading.get_native_id())
    page_in([file, file])
    assert seen == [(19, "fastserve-read")] * 4  # The second call for each finds its end.
    assert niceness_of(threading.get_native_id()) == before
    assert "fastserve-read" not in [thread.name for thread in threading.enumerate()]


# What makes an engine makes its threads, which keep its priority for ever.
def test_a_thread_that_is_started_afterwards_is_as_quick_as_ever(file):
    page_in([file])
    seen = []
    thread = threading.Thread(target=lambda: seen.append(niceness_of(threading.get_native_id())))
    thread.start()
    thread.join()
    assert seen == [niceness_of(threading.get_native_id())]


def test_a_file_system_that_cannot_send_is_read(file, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", refuse)
    page_in([file])


def test_a_priority_that_is_not_granted_is_done_without(file, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    page_in([file])


def test_a_disk_that_fails_is_told_by_the_name_of_the_file(file, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "sendfile", fail)
    with pytest.raises(Error) as caught:
        page_in([file])
    assert (caught.value.code, caught.value.message) == ("DATA_LOSS", f"{file}: Input/output error")


def test_a_file_that_has_gone_is_named(tmp_path):
    with pytest.raises(Error, match=r"/gone: No such file or directory$") as caught:
        page_in([tmp_path / "gone"])
    assert caught.value.code == "NOT_FOUND"
    page_in([])


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
