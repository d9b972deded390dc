"""model_warmup: what the config alone tells, and what the model must agree with."""

import pickle

import pytest

from fastserve.config.completion import ModelDefaults, complete
from fastserve.config.model_config import Signature, Tensor, WarmUpInput, WarmUpSample
from fastserve.config.read_config import parse_config
from fastserve.config.warm_up import row_bytes
from fastserve.errors import Error

IMAGE = Tensor("image", "FP32", (-1, 3, -1))
MASK = Tensor("mask", "INT64", (-1,), optional=True)
SIGNATURE = Signature("onnxruntime_onnx", (IMAGE, MASK), (Tensor("scores", "FP32", (-1, 10)),))
DEFAULTS = ModelDefaults()
ZEROS = "inputs { key: 'image' value { data_type: TYPE_FP32 dims: [3, 4] zero_data: true } }"


def never_asked():
    raise AssertionError("nobody should have to try")


def served(text, signature=SIGNATURE, defaults=DEFAULTS):
    config = parse_config(text, "m/config.pbtxt")
    return complete(config, signature, defaults, never_asked)


def error_of(text):
    with pytest.raises(Error) as caught:
        served(text)
    assert caught.value.code == "INVALID_ARGUMENT"
    return caught.value.message.removeprefix("m/config.pbtxt:")


def one(value, key="image", more="batch_size: 1"):
    """A model of up to 4 rows, with one sample of one input, on line 2."""
    entry = f"inputs {{ key: '{key}' value {{ {value} }} }}"
    return f"max_batch_size: 4\nmodel_warmup {{ {more} {entry} }}"


def test_samples_are_read_whole():
    config = parse_config(
        """
        model_warmup [ {
          name: "both" batch_size: 2 count: 3
          inputs { key: "text" value { data_type: TYPE_STRING dims: 1 input_data_file: "a/b" } }
          inputs { key: "ids" value { data_type: TYPE_INT64 dims: [2, 0] random_data: true } }
        }, { batch_size: 1 } ]
        """
    )
    assert config.warm_up == (
        WarmUpSample(
            "both", "model_warmup[0]", 2, 3,
            (
                WarmUpInput("ids", 'model_warmup[0].inputs["ids"]', "INT64", (2, 0), "random"),
                WarmUpInput(
                    "text", 'model_warmup[0].inputs["text"]', "BYTES", (1,), "file", "a/b"
                ),
            ),
        ),
        WarmUpSample("1", "model_warmup[1]", 1, 1, ()),
    )  # fmt: skip
    assert not config.warnings
    # A loop in a process of its own is sent it.
    assert pickle.loads(pickle.dumps(config)) == config


# In Triton's words: its value is not looked at, being there is enough.
def test_zero_data_means_zeros_whatever_its_value():
    (sample,) = parse_config(one("data_type: TYPE_FP32 zero_data: false")).warm_up
    assert sample.inputs[0].content == "zeros"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nmodel_warmup { }", "2: model_warmup[0].batch_size: expected at least 1 row, found 0"),
        (
            "model_warmup { batch_size: 1 count: 999 }\nmodel_warmup { batch_size: 1 count: 2 }",
            "2: model_warmup[1].count: expected at most 1000 runs before a version serves,"
            " found 1001",
        ),
        (
            one("zero_data: true"),
            '2: model_warmup[0].inputs["image"].data_type: expected the input\'s type, such as'
            " TYPE_FP32",
        ),
        (
            one("data_type: TYPE_FP32 dims: [3, -1] zero_data: true"),
            '2: model_warmup[0].inputs["image"].dims: expected the lengths to run with,'
            " found [3, -1]",
        ),
        (
            one("data_type: TYPE_FP32 dims: 3"),
            '2: model_warmup[0].inputs["image"]: expected zero_data, random_data or'
            " input_data_file",
        ),
    ],
)
def test_what_cannot_be_run_is_named(text, message):
    assert error_of(text) == message


@pytest.mark.parametrize(
    "path", ["", ".", "/etc/passwd", "../1/model.onnx", "a/../../b", "a\\000b"]
)
def test_a_path_that_leaves_its_folder_is_refused(path):
    text = one(f"data_type: TYPE_FP32 dims: [3, 4] input_data_file: '{path}'")
    assert error_of(text).startswith(
        '2: model_warmup[0].inputs["image"].input_data_file: expected the path of a file inside'
        " warmup/ of the model, found '"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            one("data_type: TYPE_FP32 dims: [3, 4] zero_data: true", key="imag"),
            "2: model_warmup[0].inputs: input 'image' is missing",
        ),
        (
            one("data_type: TYPE_FP32 zero_data: true", "other", f"batch_size: 1 {ZEROS}"),
            "2: model_warmup[0].inputs[\"other\"]: the model has no input 'other'; it has 'image',"
            " 'mask'",
        ),
        (
            one("data_type: TYPE_FP16 dims: [3, 4] zero_data: true"),
            '2: model_warmup[0].inputs["image"].data_type: expected TYPE_FP32 as in the model,'
            " found TYPE_FP16",
        ),
        (
            one("data_type: TYPE_FP32 dims: [2, 4] zero_data: true"),
            '2: model_warmup[0].inputs["image"].dims: expected [3, -1] as in the model,'
            " found [2, 4]",
        ),
        (
            one("data_type: TYPE_FP32 dims: [1, 3, 4] zero_data: true"),
            '2: model_warmup[0].inputs["image"].dims: expected [3, -1] as in the model,'
            " found [1, 3, 4]; with max_batch_size above 0, dims leave out the batch dimension",
        ),
        (
            one("data_type: TYPE_FP32 dims: [3, 100000000] zero_data: true"),
            '2: model_warmup[0].inputs["image"].dims: expected at most 536870912 bytes in a'
            " sample, found 1200000000",
        ),
        (
            f"max_batch_size: 4 model_warmup {{ batch_size: 5 {ZEROS} }}",
            "1: model_warmup[0].batch_size: expected at most 4, the largest batch, found 5",
        ),
        (
            f"max_batch_size: 0 model_warmup {{ batch_size: 2 {ZEROS} }}",
            "1: model_warmup[0].batch_size: expected at most 1, the model has no batch dimension,"
            " found 2",
        ),
    ],
)
def test_what_the_model_does_not_take_is_named(text, message):
    assert error_of(text) == message


def test_optional_inputs_may_be_left_out():
    assert served(f"max_batch_size: 4 model_warmup {{ batch_size: 4 {ZEROS} }}").max_batch_size == 4


def test_a_row_has_the_bytes_of_its_elements():
    def row(datatype, *dims):
        return row_bytes(WarmUpInput("x", "", datatype, dims, "zeros"))

    assert [row("FP16", 3, 5), row("INT64"), row("BYTES", 2), row("BOOL", 0, 9)] == [30, 8, 8, 0]


# The sizes at which zeros run.


def sizes(text):
    value = f"value {{ string_value: '{text}' }}"
    return f"max_batch_size: 4 parameters {{ key: 'warm_up_sizes' {value} }}"


def test_sizes_are_the_servers_unless_the_model_says_otherwise():
    assert served("max_batch_size: 4").warm_up_sizes == "powers"
    assert (
        served("max_batch_size: 4", defaults=ModelDefaults(warm_up_sizes="all")).warm_up_sizes
        == "all"
    )
    assert served(sizes("none")).warm_up_sizes == "none"
    assert not parse_config(sizes("none")).warnings
    assert error_of(sizes("some")) == (
        "1: parameters[\"warm_up_sizes\"]: expected powers or all or none, found 'some'"
    )
