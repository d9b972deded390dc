"""What a version takes is known by its files and its config, and the impossible is refused."""

import os
import shutil
from pathlib import Path

import pytest

from fastserve.config.completion import ModelDefaults
from fastserve.control.loading import estimate
from fastserve.control.loading.estimate import (
    Estimate,
    check_readable,
    count_threads,
    files_beside,
    refuse_the_impossible,
)
from fastserve.control.loading.loader import Loader
from fastserve.control.repository.model_repository import discover
from fastserve.errors import Error
from tests.served import MODELS, Repository


def test_a_file_and_its_external_data_are_counted_and_other_models_are_not(tmp_path):
    for name, count in (("model.onnx", 10), ("w.bin", 5), ("other.onnx", 100), ("a/b", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(count))
    files = files_beside(tmp_path / "model.onnx")
    assert [str(path.relative_to(tmp_path)) for path in files] == ["model.onnx", "a/b", "w.bin"]


def test_what_may_not_be_looked_at_is_not_counted(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "w.bin").write_bytes(b"1")
    monkeypatch.setattr(Path, "is_file", refuse)
    assert files_beside(tmp_path / "model.onnx") == [tmp_path / "model.onnx"]


# All instances share the engine's pools, and whoever runs is one of a pool's.
def test_threads_are_those_of_the_instances_and_of_the_pools():
    assert count_threads(instances=4, intra_op=1, inter_op=1) == 4
    assert count_threads(instances=4, intra_op=8, inter_op=2) == 12
    assert count_threads(instances=1, intra_op=0, inter_op=1) == (os.cpu_count() or 1)


def test_it_reads_in_units_that_suit():
    assert str(Estimate(300 << 20, 1)) == "300 MiB of files, 1 thread"
    assert str(Estimate(0, 3)) == "0 B of files, 3 threads"


def test_files_that_nobody_can_open_are_named(tmp_path, monkeypatch):
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(Error, match=r"^m/1/model\.onnx is empty$"):
        check_readable(tmp_path / "empty", "m/1/model.onnx")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(Error, match=r"^m/1/model\.onnx: Permission denied$") as caught:
        check_readable(tmp_path / "empty", "m/1/model.onnx")
    assert caught.value.code == "PERMISSION_DENIED"


def test_more_than_there_is_is_refused(monkeypatch):
    monkeypatch.setattr(estimate, "available_bytes", lambda: 5 << 30)
    monkeypatch.setattr(estimate, "available_threads", lambda: 100)
    refuse_the_impossible(Estimate(5 << 30, 100), "m/1")
    with pytest.raises(Error) as caught:
        refuse_the_impossible(Estimate(6 << 30, 1), "m/1")
    assert (caught.value.code, caught.value.message) == (
        "RESOURCE_EXHAUSTED",
        "m/1: its files alone are 6 GiB, and 5 GiB of memory are available",
    )
    with pytest.raises(Error, match="m/1: it asks for 101 threads, and 100 may still be started"):
        refuse_the_impossible(Estimate(0, 101), "m/1")


def test_where_nobody_says_what_there_is_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(estimate, "available_bytes", lambda: None)
    monkeypatch.setattr(estimate, "available_threads", lambda: None)
    refuse_the_impossible(Estimate(1 << 60, 1 << 20), "m/1")


# Through the loader.


@pytest.fixture
def loader():
    return Loader(ModelDefaults(instance_count=2, intra_op_threads=3))


def test_the_loader_estimates_before_it_opens(loader, tmp_path):
    repository = Repository(tmp_path)
    repository.add("external_data", config="instance_group { count: 3 }")
    (source,) = discover([str(tmp_path)])
    size = sum(os.stat(MODELS / f"external_data.{end}").st_size for end in ("onnx", "bin"))
    assert loader.estimate(source, 1, loader.read_config(source)) == Estimate(size, 5)


def test_a_file_alone_may_have_anything_beside_it(loader, tmp_path):
    shutil.copy(MODELS / "scalar.onnx", tmp_path / "m.onnx")
    (tmp_path / "film").write_bytes(bytes(1 << 20))
    (source,) = discover([str(tmp_path / "m.onnx")])
    size = os.stat(MODELS / "scalar.onnx").st_size
    assert loader.estimate(source, 1, loader.read_config(source)) == Estimate(size, 4)


def test_identity_has_no_file(loader, tmp_path):
    Repository(tmp_path).add_identity("m")
    (source,) = discover([str(tmp_path)])
    assert loader.estimate(source, 1, loader.read_config(source)) == Estimate(0, 2)


def test_what_is_too_large_is_not_loaded(loader, tmp_path, monkeypatch):
    Repository(tmp_path).add("scalar")
    (source,) = discover([str(tmp_path)])
    monkeypatch.setattr(estimate, "available_bytes", lambda: 10)
    with pytest.raises(Error, match=r"^scalar/1: its files alone are ") as caught:
        loader.load(source, 1, loader.read_config(source))
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    # Whoever only looks need not have the room.
    loader.open(source, 1, loader.read_config(source))


def test_an_empty_model_is_told_before_the_engine_is_asked(loader, tmp_path):
    Repository(tmp_path).add_made("m", b"")
    (source,) = discover([str(tmp_path)])
    with pytest.raises(Error, match=r"^m/1/model\.onnx is empty$"):
        loader.load(source, 1, loader.read_config(source))
    (tmp_path / "alone.onnx").write_bytes(b"")
    (source,) = discover([str(tmp_path / "alone.onnx")])
    with pytest.raises(Error, match=r"^alone\.onnx is empty$"):
        loader.open(source, 1, loader.read_config(source))
