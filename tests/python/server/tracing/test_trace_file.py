"""Files of traces: whole at any moment, and never anybody's trouble."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fastserve.errors import Error
from fastserve.server.tracing import trace_file
from fastserve.server.tracing.trace_file import TraceFile, check_path
from tests.python.server.tracing.test_entries import RECORD

CLOSE_S = 10.0


def traced(path: Path) -> list[int]:
    """The numbers of the traces in a file."""
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return [entry["id"] for entry in found if "timestamps" in entry]


def made(path: Path, warnings: list[str] | None = None, bytes_max: int = 1 << 20) -> TraceFile:
    return TraceFile(str(path), bytes_max, (warnings if warnings is not None else []).append)


def test_all_go_to_one_file(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text("of an earlier server")
    file = made(path)
    for _ in range(3):
        file.write("", 0, [RECORD, RECORD])
    file.close(CLOSE_S)
    assert traced(path) == [1, 2, 3, 4, 5, 6]
    assert path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_or_each_n_to_a_file_of_their_own(tmp_path):
    path = tmp_path / "trace.json"
    file = made(path)
    file.write("", 2, [RECORD] * 3)
    file.write("m", 2, [RECORD])
    file.write("", 2, [RECORD] * 2)
    file.close(CLOSE_S)
    assert not path.exists()
    assert traced(tmp_path / "trace.json.0") == [1, 2]
    assert traced(tmp_path / "trace.json.1") == [3, 5]
    assert traced(tmp_path / "trace.json.2") == [4]
    assert traced(tmp_path / "trace.json.3") == [6]


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# Python ignores SIGXFSZ: a write beyond the limit fails as on a disk that is full.
def test_a_full_disk_loses_traces_and_leaves_a_whole_file(tmp_path):
    path = tmp_path / "trace.json"
    warnings: list[str] = []
    file = made(path, warnings)
    with files_of_at_most(4000):
        for _ in range(30):
            file.write("", 0, [RECORD])
        file.close(CLOSE_S)
    numbers = traced(path)
    assert 1 < len(numbers) < 30
    assert file.lost == 30 - len(numbers)
    assert len(warnings) == 1
    assert "File too large" in warnings[0]


def test_no_more_is_written_than_may_be(tmp_path):
    path = tmp_path / "trace.json"
    warnings: list[str] = []
    file = made(path, warnings, bytes_max=2000)
    for _ in range(10):
        file.write("", 0, [RECORD])
    file.close(CLOSE_S)
    assert path.stat().st_size < 4000
    assert file.lost == 10 - len(traced(path)) > 0
    (warning,) = warnings
    assert "--max-trace-bytes" in warning


def test_what_waits_for_a_slow_disk_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_file, "WAITING_MAX", 10)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    file = made(path)
    file.write("", 0, [RECORD] * 11)
    assert file.lost == 11


def test_a_link_is_not_followed(tmp_path):
    path, target = tmp_path / "trace.json", tmp_path / "target"
    warnings: list[str] = []
    target.write_text("precious")
    path.symlink_to(target)
    file = made(path, warnings)
    file.write("", 0, [RECORD])
    file.close(CLOSE_S)
    assert target.read_text() == "precious"
    assert file.lost == 1
    assert "no regular file" in warnings[0]


def test_a_place_that_cannot_be_written_to_is_refused_at_the_start(tmp_path):
    check_path(str(tmp_path / "trace.json"))
    with pytest.raises(Error, match="there is no folder"):
        check_path(str(tmp_path / "none" / "trace.json"))
    for wrong in (tmp_path, Path("/dev/null")):
        with pytest.raises(Error, match="no regular file"):
            check_path(str(wrong))
