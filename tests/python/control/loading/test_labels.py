"""Labels: each line of the file is one, and a file that is no such list fails the load."""

import pytest

from fastserve.config.completion import ModelDefaults
from fastserve.control.loading import labels
from fastserve.control.loading.loader import Loader
from fastserve.control.repository.model_repository import discover
from fastserve.errors import Error
from tests.served import Repository


@pytest.fixture
def model(tmp_path):
    """Makes a model whose output has the labels of a file of that content; its labels as read."""

    def load(content=None, name="names.txt"):
        repository = Repository(tmp_path)
        repository.add_identity("m", dims="3", more="max_batch_size: 8")
        config = tmp_path / "m" / "config.pbtxt"
        named = f'name: "y" label_filename: "{name}"'
        config.write_text(config.read_text().replace('name: "y"', named))
        if content is not None:
            (tmp_path / "m" / name).write_bytes(content)
        loader = Loader(ModelDefaults())
        (source,) = discover([str(tmp_path / "m")])
        return loader.open(source, 1, loader.read_config(source)).labels

    return load


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ()),
        (b"\n", ("",)),
        (b"cat\ndog", ("cat", "dog")),
        (b"cat\r\n\r\ndog\r\n", ("cat", "", "dog")),
        ("dög\u2028x\n".encode(), ("dög\u2028x",)),
    ],
)
def test_a_line_is_a_label(model, content, expected):
    assert model(content) == {"y": expected}


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (None, "names.txt", "output[0].label_filename: m/names.txt: No such file or directory"),
        (b"\xff", "names.txt", "output[0].label_filename: m/names.txt: expected UTF-8"),
        (None, "1", "output[0].label_filename: m/1: Is a directory"),
        (None, "../x", "expected the name of a file beside the config, found '../x'"),
        (None, "..", "expected the name of a file beside the config, found '..'"),
    ],
)
def test_what_is_no_list_of_labels_fails_the_load(model, content, name, reason):
    with pytest.raises(Error) as caught:
        model(content, name)
    assert reason in caught.value.message
    assert "config.pbtxt" in caught.value.message


def test_a_list_that_is_too_long_is_refused(model, monkeypatch):
    monkeypatch.setattr(labels, "LABEL_BYTES_MAX", 10)
    with pytest.raises(Error, match="expected at most 10 bytes"):
        model(b"0123456789\n")
