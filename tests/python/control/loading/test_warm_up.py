"""Samples: their files are checked at opening, and one that does not run fails the load."""

import struct

import numpy as np
import pytest

from fastserve.config.completion import ModelDefaults
from fastserve.control.loading.loader import Loader
from fastserve.control.repository.model_repository import discover
from fastserve.errors import Error
from tests.conformance import made
from tests.served import Repository

DATA = "key: 'x' value { data_type: TYPE_FP32 dims: 2 input_data_file: 'x' }"


@pytest.fixture
def loader():
    return Loader(ModelDefaults())


@pytest.fixture
def model(tmp_path, loader):
    """Makes a model of config and content, with the files of its warmup/ folder; loads it."""

    def load(config, content=None, **files):
        repository = Repository(tmp_path)
        repository.add_made("m", content or made.scaled(2), config=config)
        (tmp_path / "m" / "warmup").mkdir()
        for name, data in files.items():
            (tmp_path / "m" / "warmup" / name).write_bytes(data)
        (source,) = discover([str(tmp_path / "m")])
        return loader.load(source, 1, loader.read_config(source))

    return load


def sample(inputs, more="batch_size: 2"):
    return f"max_batch_size: 4\nmodel_warmup {{ name: 's' {more} inputs {{ {inputs} }} }}"


def message_of(model, *arguments, **files):
    with pytest.raises(Error) as caught:
        model(*arguments, **files)
    return caught.value.message


def test_a_sample_of_a_file_runs_and_is_not_counted(model):
    loaded = model(sample(DATA, "batch_size: 4 count: 3"), x=np.array([1, 2], np.float32).tobytes())
    assert loaded.servable.stats()["executions"] == 0


@pytest.mark.parametrize("content", ["zero_data: true", "random_data: true"])
def test_a_sample_needs_no_file(model, content):
    model(sample(f"key: 'x' value {{ data_type: TYPE_FP32 dims: 2 {content} }}"))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "m/warmup/x: No such file or directory"),
        ({"x": b"1234"}, "m/warmup/x: expected the 8 bytes of one row of FP32 [2], found 4"),
        # Triton would take a longer one, and drop the rest.
        ({"x": bytes(16)}, "m/warmup/x: expected the 8 bytes of one row of FP32 [2], found 16"),
    ],
)
def test_a_file_that_does_not_fit_is_named(model, files, reason):
    assert message_of(model, sample(DATA), **files) == (
        f'm/config.pbtxt:2: model_warmup[0].inputs["x"].input_data_file: {reason}'
    )


def test_a_directory_is_no_file(model):
    text = sample(DATA.replace("input_data_file: 'x'", "input_data_file: '../warmup'"))
    assert "expected the path of a file inside warmup/" in message_of(model, text)


BYTES = """
backend: "identity" max_batch_size: 4
input { name: "x" data_type: TYPE_STRING dims: 2 }
output { name: "y" data_type: TYPE_STRING dims: 2 }
model_warmup { batch_size: 2
  inputs { key: "x" value { data_type: TYPE_STRING dims: 2 input_data_file: "x" } } }
"""


def test_elements_of_bytes_have_their_lengths_in_front(model):
    model(BYTES, x=struct.pack("<I3sI", 3, b"abc", 0))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bytes(7), "expected at least 8 bytes of one row of BYTES [2]: each element has 4 bytes"),
        (bytes(12), "sample '0' does not run: "),
        (struct.pack("<II3s", 0, 9, b"abc"), "sample '0' does not run: "),
    ],
)
def test_wrong_lengths_are_found(model, content, reason):
    assert reason in message_of(model, BYTES, x=content)


# An index out of bounds, with which the model runs for nobody.
def test_a_sample_that_does_not_run_fails_the_load(model):
    index = "key: 'index' value { data_type: TYPE_INT64 dims: 1 input_data_file: 'index' }"
    x = "inputs { key: 'x' value { data_type: TYPE_FP32 dims: 4 random_data: true } }"
    text = sample(index, f"batch_size: 2 {x}")
    message = message_of(model, text, made.pick(), index=np.array([9], np.int64).tobytes())
    assert message.startswith("m/config.pbtxt:2: model_warmup[0]: sample 's' does not run: ")
    assert message.endswith("Out of range value in index tensor")


# Zeros that fail are nobody's fault; they run after the samples.
def test_zeros_run_as_well_at_the_sizes_that_were_asked_for(model):
    sizes = "parameters { key: 'warm_up_sizes' value { string_value: 'all' } }"
    loaded = model(sample(DATA) + sizes, x=np.array([1, 2], np.float32).tobytes())
    assert loaded.served.warm_up_sizes == "all"
    assert loaded.servable.stats()["expected_wait_ns"] >= 0
