"""Whether something on disk has changed, and whether a version has arrived as a whole."""

import os
import shutil
from dataclasses import replace

import pytest

from fastserve.control.repository import fingerprint as room
from fastserve.control.repository.fingerprint import arrived_whole, fingerprint, snapshot
from fastserve.control.repository.model_repository import discover


@pytest.fixture
def model(tmp_path):
    """A model with a config and two versions; gives its directory."""
    for name in ("config.pbtxt", "1/model.onnx", "1/data/weights", "2/model.onnx"):
        path = tmp_path / "m" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "m"


def next_step_of_the_clock(path):
    """The kernel notes times in steps; what happens after this has a later one."""
    probe = path / "probe"
    probe.touch()
    first_ns = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == first_ns:
        probe.touch()
    probe.unlink()


def source_of(model):
    (source,) = discover([str(model)])
    return source


def test_a_version_has_changed_when_a_file_of_it_has(model, monkeypatch):
    source = source_of(model)
    before = fingerprint(source, 1)
    assert before is not None
    assert fingerprint(source, 1) == before
    (model / "2/model.onnx").write_text("other")
    assert fingerprint(source, 1) == before
    for name in ("1/data/weights", "config.pbtxt"):
        (model / name).write_text("other")
        after = fingerprint(source, 1)
        assert after != before
        before = after
    # As large and as old, but another file.
    other = model / "other"
    other.write_text("other")
    os.utime(other, ns=(0, os.stat(model / "1/data/weights").st_mtime_ns))
    other.rename(model / "1/data/weights")
    assert fingerprint(source, 1) != before
    monkeypatch.setattr(room, "FILES_MAX", 1)
    assert fingerprint(source, 1) is None
    assert fingerprint(source, 2) is not None


def test_what_vanishes_is_another_one(model):
    source = source_of(model)
    before = fingerprint(source, 2)
    (model / "config.pbtxt").unlink()
    assert fingerprint(source, 2) != before
    shutil.rmtree(model / "2")
    assert fingerprint(source, 2) is None
    assert snapshot(source).versions[2] == ()


def test_a_config_that_came_with_a_request_counts_as_one(model):
    source = source_of(model)
    given = replace(source, config_json="{}")
    assert fingerprint(given, 1) != fingerprint(source, 1)
    assert fingerprint(given, 1) != fingerprint(replace(source, config_json="{ }"), 1)


def test_what_is_copied_has_not_arrived_and_what_is_renamed_has(model):
    copied = model / "3"
    shutil.copytree(model / "1", copied, copy_function=shutil.copyfile)
    (copied / "late").touch()
    assert not arrived_whole(copied)
    hidden = model / ".4"
    shutil.copytree(model / "1", hidden)
    next_step_of_the_clock(model)
    hidden.rename(model / "4")
    assert arrived_whole(model / "4")
    next_step_of_the_clock(model)
    (model / "4" / "more").touch()
    assert not arrived_whole(model / "4")
    assert not arrived_whole(model / "5")


# A file within a directory that was written to after the directory was renamed.
def test_a_file_that_still_grows_has_not_arrived(model):
    next_step_of_the_clock(model)
    (model / "1").rename(model / "6")
    assert arrived_whole(model / "6")
    next_step_of_the_clock(model)
    with (model / "6" / "data" / "weights").open("a") as file:
        file.write("more")
    assert not arrived_whole(model / "6")
