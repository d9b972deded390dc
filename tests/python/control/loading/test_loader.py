"""From a version on disk to a servable: against the real core, with real models."""

import shutil
from pathlib import Path

import pytest

from fastserve import _core
from fastserve.config.completion import ModelDefaults
from fastserve.config.model_config import ModelConfig
from fastserve.control.loading.loader import Loader, model_path
from fastserve.control.repository.model_repository import discover
from fastserve.errors import Error

MODELS = Path(__file__).parents[3] / "models"
IDENTITY = """
backend: "identity"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
"""


@pytest.fixture
def loader():
    return Loader(ModelDefaults(max_batch_size=16))


def file_source(name):
    (source,) = discover([str(MODELS / f"{name}.onnx")])
    return source


@pytest.fixture
def directory_source(tmp_path):
    """A model's directory, with a config and with the files of its version 1."""

    def make(config="", **files):
        root = tmp_path / "m"
        (root / "1").mkdir(parents=True)
        if config:
            (root / "config.pbtxt").write_text(config)
        for stem, original in files.items():
            shutil.copy(MODELS / original, root / "1" / f"{stem}.onnx")
        (source,) = discover([str(root)])
        return source

    return make


def load(loader, source, version=1):
    return loader.load(source, version, loader.read_config(source))


def error_of(loader, source, version=1):
    with pytest.raises(Error) as caught:
        load(loader, source, version)
    return caught.value


# Files.


def test_a_file_is_loaded_and_has_run(loader):
    loaded = load(loader, file_source("identity_fp32"))
    assert (loaded.name, loaded.version) == ("identity_fp32", 1)
    assert loaded.platform == "onnxruntime_onnx"
    assert (loaded.servable.name, loaded.servable.version) == ("identity_fp32", 1)
    assert loaded.load_ns > 0
    (tensor,) = loaded.served.inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("x", "FP32", (-1, -1))


def test_rows_that_are_independent_are_joined(loader):
    served = load(loader, file_source("add_mul")).served
    assert (served.max_batch_size, served.joins_requests) == (16, True)


# A mean over the rows: joining requests would mix their answers.
def test_rows_that_depend_on_each_other_are_not_joined(loader):
    served = load(loader, file_source("center_rows")).served
    assert (served.max_batch_size, served.joins_requests) == (0, False)
    assert served.batching.startswith("off: ")


@pytest.mark.parametrize("name", ["fixed_shape", "no_batch", "gather", "scalar"])
def test_a_model_without_one_batch_dimension_is_served_without_joining(loader, name):
    assert not load(loader, file_source(name)).served.joins_requests


def test_an_input_with_a_default_is_optional(loader):
    served = load(loader, file_source("optional_input")).served
    assert {tensor.name: tensor.optional for tensor in served.inputs}["x"] is False


def test_a_file_that_is_no_model_is_an_error_and_no_crash(loader, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    (source,) = discover([str(tmp_path / "bad.onnx")])
    error = error_of(loader, source)
    assert error.code == "INVALID_ARGUMENT"
    assert error.message.isprintable()


def test_a_file_that_has_gone_is_not_found(loader, tmp_path):
    shutil.copy(MODELS / "scalar.onnx", tmp_path / "gone.onnx")
    (source,) = discover([str(tmp_path / "gone.onnx")])
    (tmp_path / "gone.onnx").unlink()
    assert error_of(loader, source).code == "NOT_FOUND"


# Directories and their configs.


def test_a_config_narrows_what_is_served(loader, directory_source):
    source = directory_source(
        "max_batch_size: 4 dynamic_batching { } output { name: 'product' }"
        " instance_group { count: 2 }",
        model="add_mul.onnx",
    )
    served = load(loader, source).served
    assert (served.max_batch_size, served.joins_requests, served.instance_count) == (4, True, 2)
    assert [tensor.name for tensor in served.outputs] == ["product"]


def test_a_model_and_its_external_data_may_lie_in_a_directory(loader, directory_source):
    source = directory_source()
    inner = source.path / "1" / "model.onnx"
    inner.mkdir()
    shutil.copy(MODELS / "external_data.onnx", inner / "model.onnx")
    shutil.copy(MODELS / "external_data.bin", inner)
    assert load(loader, source).served.inputs[0].name == "x"


def test_another_file_name_is_taken_from_the_config(loader, directory_source):
    source = directory_source("default_model_filename: 'net.onnx'", net="scalar.onnx")
    assert model_path(source, 1, loader.read_config(source)).name == "net.onnx"
    assert load(loader, source).platform == "onnxruntime_onnx"


def test_a_missing_file_is_named_and_another_one_suggested(directory_source):
    source = directory_source(net="scalar.onnx")
    with pytest.raises(Error) as caught:
        model_path(source, 1, ModelConfig())
    assert caught.value.code == "NOT_FOUND"
    assert caught.value.message == (
        'm/1/model.onnx: no such file; it holds net.onnx: set default_model_filename: "net.onnx"'
    )
    (source.path / "1" / "net.onnx").unlink()
    with pytest.raises(Error, match=r"^m/1/model\.onnx: no such file$"):
        model_path(source, 1, ModelConfig())


def test_a_file_that_may_not_be_looked_at_is_an_error(directory_source, monkeypatch):
    source = directory_source(model="scalar.onnx")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(Error, match=r"^m/1/model\.onnx: Permission denied$"):
        model_path(source, 1, ModelConfig())


def test_a_config_of_another_name_is_refused(loader, directory_source):
    source = directory_source("\nname: 'other'")
    with pytest.raises(Error) as caught:
        loader.read_config(source)
    assert caught.value.message == (
        "m/config.pbtxt:2: name: expected 'm' as its directory, found 'other'"
    )


def test_without_a_config_nothing_is_said(loader, directory_source):
    assert loader.read_config(directory_source()) == ModelConfig(backend="onnxruntime")


def test_a_contradiction_of_config_and_model_names_the_line(loader, directory_source):
    source = directory_source("\ninput { name: 'z' }", model="add_mul.onnx")
    assert error_of(loader, source).message == (
        "m/config.pbtxt:2: input[0].name: the model has no input 'z'; it has 'a', 'b'"
    )


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("intra_op_thread_count", "1025"),
        ("inter_op_thread_count", "-1"),
        ("session.intra_op.allow_spinning", "2"),
    ],
)
def test_a_parameter_beyond_its_limits_is_named(loader, directory_source, key, text):
    config = f"parameters {{ key: '{key}' value {{ string_value: '{text}' }} }}"
    message = error_of(loader, directory_source(config, model="scalar.onnx")).message
    assert message.startswith(f'm/config.pbtxt:1: parameters["{key}"]: expected an integer from 0')


def test_a_provider_that_the_engine_lacks_is_refused(loader, directory_source):
    source = directory_source(
        "optimization { execution_accelerators {"
        " cpu_execution_accelerator { name: 'openvino' } } }",
        model="scalar.onnx",
    )
    assert error_of(loader, source).code == "FAILED_PRECONDITION"


# The identity backend has no file.


def test_identity_is_what_its_config_declares(loader, directory_source):
    loaded = load(loader, directory_source(IDENTITY))
    assert loaded.served.inputs[0].shape == (-1, -1)
    assert loaded.served.max_batch_size == 8
    assert isinstance(loaded.servable, _core.Servable)


def test_identity_without_a_declaration_is_refused(loader, directory_source):
    error = error_of(loader, directory_source("backend: 'identity'"))
    assert error.message.startswith("m/config.pbtxt: backend 'identity' has no model file")


# What only the core can judge comes as our own type, so that callers catch one.
def test_an_error_of_the_core_comes_as_an_error_of_fastserve(loader, directory_source):
    config = IDENTITY + "parameters { key: 'delay_us' value { string_value: 'soon' } }"
    assert error_of(loader, directory_source(config)).code == "INVALID_ARGUMENT"
