"""A model that comes with the request to load it."""

import base64
import os
import tempfile
from pathlib import Path

import pytest

from fastserve.control.repository import inline as room
from fastserve.control.repository.inline import from_parameters
from fastserve.control.repository.model_repository import ModelRepository
from fastserve.errors import Error


def given_by(parameters):
    given = from_parameters(parameters)
    assert given is not None
    return given


def encoded(content):
    return base64.b64encode(content).decode()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    (tmp_path / "models" / "m" / "1").mkdir(parents=True)
    return ModelRepository((str(tmp_path / "models"),))


def test_nothing_is_given():
    assert from_parameters({}) is None


def test_a_config_alone_is_for_the_files_of_the_repository(repository, tmp_path):
    given = given_by({"config": '{"max_batch_size": 4}'})
    source = given.put(repository, "m")
    assert source.path == tmp_path / "models" / "m"
    assert source.config_json == '{"max_batch_size": 4}'
    given.take_away(source)
    assert source.path.is_dir()
    with pytest.raises(Error, match="there is no model 'n'"):
        given.put(repository, "n")


def test_files_are_laid_out_as_in_a_repository_and_taken_away(repository, tmp_path):
    given = given_by(
        {
            "config": "{}",
            "file:1/model.onnx": encoded(b"one"),
            "file:12/model.onnx": encoded(b""),
            "file:12/data/weights": encoded(b"\0" * 10),
        }
    )
    source = given.put(repository, "new")
    assert (source.name, sorted(source.versions)) == ("new", [1, 12])
    assert (source.versions[1] / "model.onnx").read_bytes() == b"one"
    assert (source.versions[12] / "data" / "weights").read_bytes() == b"\0" * 10
    given.take_away(source)
    assert os.listdir(tmp_path / "spool") == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cfg": "{}"}, "unknown parameter 'cfg'"),
        ({"config": {}}, "config: expected a text that holds JSON"),
        ({"file:1/model.onnx": ""}, "come with its 'config'"),
        ({"config": "{}", "file:1/a": "?"}, "file:1/a: expected a text in base64"),
        ({"config": "{}", "file:1/a": 3}, "file:1/a: expected a text in base64"),
        ({"config": "{}", "file:1/a": "", "file:1/a/b": ""}, "file:1/a is a file already"),
        *(
            ({"config": "{}", f"file:{path}": ""}, "expected file:VERSION/NAME")
            for path in (
                "", "1", "1/", "/1/a", "1//a", "01/a", "x/a", "-1/a", "1/..", "1/../../a", "1/.",
                "1/a\0b", "1/a\nb", "../1/a", "1/" + "a" * 256, "9" * 30 + "/a",
            )
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_laid_out_is_refused(parameters, message):
    with pytest.raises(Error, match=message) as told:
        from_parameters(parameters)
    assert told.value.code == "INVALID_ARGUMENT"


def test_there_is_a_limit_to_the_files(monkeypatch):
    monkeypatch.setattr(room, "FILES_MAX", 1)
    with pytest.raises(Error, match="expected at most 1 files, found 2"):
        from_parameters({"config": "{}", "file:1/a": "", "file:1/b": ""})


@pytest.mark.parametrize("name", ["..", ".hidden", "a\nb", "x" * 300])
def test_a_name_that_is_no_directory_is_refused(repository, name, tmp_path):
    given = given_by({"config": "{}", "file:1/a": ""})
    with pytest.raises(Error, match="expected as name of a model"):
        given.put(repository, name)
    assert os.listdir(tmp_path / "spool") == []


def test_a_place_that_is_not_there_is_told(repository, tmp_path):
    (tmp_path / "spool").rmdir()
    with pytest.raises(Error, match="could not be written: No such file or directory"):
        given_by({"config": "{}", "file:1/a": ""}).put(repository, "m")


def test_a_full_disk_is_told_and_nothing_is_left(repository, tmp_path, monkeypatch):
    def is_full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", is_full)
    given = given_by({"config": "{}", "file:1/a": ""})
    with pytest.raises(Error, match="could not be written: No space left on device") as told:
        given.put(repository, "m")
    assert told.value.code == "RESOURCE_EXHAUSTED"
    assert os.listdir(tmp_path / "spool") == []
