"""A config is completed from the model; where the two contradict, both are named."""

from dataclasses import replace

import pytest

from fastserve.config.completion import ModelDefaults, complete, declared_signature
from fastserve.config.model_config import ModelConfig, Signature, Tensor, type_name
from fastserve.config.read_config import parse_config
from fastserve.errors import Error

IMAGE = Tensor("image", "FP32", (-1, 3, -1), ("N", "", "w"))
SCORES = Tensor("scores", "FP32", (-1, 10), ("N", ""))
OPEN = Signature("onnxruntime_onnx", (IMAGE,), (SCORES,))
FIXED = Signature("onnxruntime_onnx", (replace(IMAGE, shape=(1, 3, -1)),), (SCORES,))
DEFAULTS = ModelDefaults(max_batch_size=32, max_queue_delay_ns=7, instance_count=2, queue_depth=9)
PAIR = "input { name: 'image' dims: [3, -1] } output { name: 'scores' dims: 10 }"


def rows_are_independent():
    return True, "rows are independent"


def rows_depend():
    return False, "rows depend on each other"


def never_asked():
    raise AssertionError("nobody should have to try")


def served(text, signature=OPEN, probe=never_asked, defaults=DEFAULTS):
    config = parse_config(text, "m/config.pbtxt") if text else ModelConfig()
    return complete(config, signature, defaults, probe)


def error_of(*args, **kwargs):
    with pytest.raises(Error) as caught:
        served(*args, **kwargs)
    assert caught.value.code == "INVALID_ARGUMENT"
    return caught.value.message.removeprefix("m/config.pbtxt:")


# Without a config: the model decides.


def test_requests_are_joined_where_a_try_shows_that_rows_are_independent():
    config = served("", probe=rows_are_independent)
    assert (config.max_batch_size, config.joins_requests) == (32, True)
    assert config.batching == "up to 32 rows, rows are independent"
    assert (config.inputs, config.outputs) == (OPEN.inputs, OPEN.outputs)
    assert (config.max_queue_delay_ns, config.instance_count, config.queue_depth) == (7, 2, 9)
    assert config.warnings == ()


def test_requests_are_not_joined_where_a_try_shows_that_rows_depend():
    config = served("", probe=rows_depend)
    assert (config.max_batch_size, config.joins_requests) == (0, False)
    assert config.batching == "off: rows depend on each other"
    assert config.max_queue_delay_ns == 0  # Nobody could join while it waits.


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        (FIXED, "the first dimension of 'image' is fixed"),
        (
            replace(OPEN, outputs=(replace(SCORES, shape=(10,)),)),
            "the first dimension of 'scores' is fixed",
        ),
        (
            replace(OPEN, outputs=(replace(SCORES, shape=()),)),
            "the first dimension of 'scores' is fixed",
        ),
        (
            replace(OPEN, outputs=(replace(SCORES, dim_names=("M", "")),)),
            "first dimensions differ: M, N",
        ),
        (replace(OPEN, inputs=()), "the model has no inputs"),
    ],
)
def test_what_the_signature_shows_needs_no_try(signature, why):
    config = served("", signature)
    assert (config.max_batch_size, config.batching) == (0, f"off: {why}")


def test_an_unnamed_first_dimension_may_be_the_same_as_a_named_one():
    unnamed = replace(OPEN, outputs=(replace(SCORES, dim_names=()),))
    assert served("", unnamed, rows_are_independent).joins_requests


def test_the_command_line_can_turn_joining_off():
    config = served("", defaults=replace(DEFAULTS, max_batch_size=1))
    assert config.batching == "off: --max-batch is below 2"


# A config that is silent about batches leaves it to the model as well.
def test_a_config_about_other_things_leaves_batching_automatic():
    config = served("instance_group { count: 3 }", probe=rows_are_independent)
    assert (config.joins_requests, config.instance_count) == (True, 3)


def test_an_empty_dynamic_batching_sets_the_delay_and_leaves_the_size_to_the_model():
    config = served("dynamic_batching { }", probe=rows_are_independent)
    assert (config.max_batch_size, config.max_queue_delay_ns) == (32, 0)


# With a config: it says.


def test_a_config_says_how_requests_are_joined():
    config = served(
        "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 4, 2 ]"
        " max_queue_delay_microseconds: 5 default_queue_policy { max_queue_size: 6 } }"
    )
    assert (config.max_batch_size, config.joins_requests) == (8, True)
    assert config.batching == "up to 8 rows, as configured"
    assert config.preferred_batch_sizes == (2, 4)
    assert (config.max_queue_delay_ns, config.queue_depth) == (5000, 6)


@pytest.mark.parametrize(
    ("text", "size", "why"),
    [
        ("max_batch_size: 8", 8, "the config has no dynamic_batching"),
        ("max_batch_size: 1", 1, "max_batch_size is 1"),
        ("max_batch_size: 0", 0, "max_batch_size is 0"),
        ("input { name: 'image' }", 0, "the config has no max_batch_size"),
    ],
)
def test_a_config_says_why_requests_are_not_joined(text, size, why):
    config = served(text)
    assert (config.max_batch_size, config.joins_requests) == (size, False)
    assert config.batching == f"off: {why}"
    assert config.warnings == ()
    assert config.max_queue_delay_ns == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("max_batch_size: 0\ndynamic_batching { }", "max_batch_size is 0"),
        ("max_batch_size: 1\ndynamic_batching { preferred_batch_size: 1 }", "max_batch_size is 1"),
        ("input { name: 'image' }\ndynamic_batching { }", "the config has no max_batch_size"),
        ("\ndynamic_batching { preferred_batch_size: 64 }", "rows depend on each other"),
    ],
)
def test_dynamic_batching_without_effect_is_a_warning(text, why):
    config = served(text, probe=rows_depend)
    assert config.warnings == (f"m/config.pbtxt:2: dynamic_batching has no effect: {why}",)
    assert config.preferred_batch_sizes == ()


def test_a_preferred_size_above_the_largest_batch_is_refused():
    assert error_of(
        "\ndynamic_batching { preferred_batch_size: 64 }", probe=rows_are_independent
    ) == ("2: dynamic_batching.preferred_batch_size: 64 is above the largest batch, which is 32")


@pytest.mark.parametrize("text", ["max_batch_size: 1", "max_batch_size: 8 dynamic_batching { }"])
def test_a_batch_dimension_that_the_model_does_not_have_is_refused(text):
    assert error_of(text, FIXED).endswith(
        ": the first dimension of input 'image' is fixed in the model, its shape is [1, 3, -1]"
    )
    scalar = replace(OPEN, outputs=(replace(SCORES, shape=()),))
    assert "output 'scores' is fixed in the model, its shape is []" in error_of(text, scalar)


# Tensors.


def test_dims_narrow_what_the_model_leaves_open():
    config = served("max_batch_size: 4 input { name: 'image' dims: [3, 28] }")
    assert config.inputs[0].shape == (-1, 3, 28)
    assert config.inputs[0].datatype == "FP32"
    assert config.outputs == OPEN.outputs


def test_without_a_batch_dimension_dims_are_the_whole_shape():
    config = served("input { name: 'image' dims: [2, 3, 28] }")
    assert config.inputs[0].shape == (2, 3, 28)


def test_inputs_left_out_are_served_as_the_model_has_them():
    two = replace(OPEN, inputs=(IMAGE, Tensor("mask", "BOOL", (-1,))))
    config = served("max_batch_size: 4 input { name: 'mask' data_type: TYPE_BOOL }", two)
    assert config.inputs == two.inputs


def test_only_the_outputs_that_are_listed_are_served_in_the_model_s_order():
    three = replace(OPEN, outputs=tuple(replace(SCORES, name=name) for name in "abc"))
    config = served("max_batch_size: 4 output [ { name: 'c' }, { name: 'a' } ]", three)
    assert [tensor.name for tensor in config.outputs] == ["a", "c"]


def test_an_input_that_the_model_can_do_without_may_be_optional():
    optional = replace(OPEN, inputs=(replace(IMAGE, optional=True),))
    assert served("input { name: 'image' optional: true }", optional).inputs[0].optional
    assert served("input { name: 'image' }", optional).inputs[0].optional


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\ninput { name: 'imagee' }",
            "2: input[0].name: the model has no input 'imagee'; did you mean 'image'?",
        ),
        (
            "output {\n name: 'zz' }",
            "2: output[0].name: the model has no output 'zz'; it has 'scores'",
        ),
        (
            "input { name: 'image'\n data_type: TYPE_STRING }",
            "2: input[0].data_type: input 'image': expected TYPE_FP32 as in the model,"
            " found TYPE_STRING",
        ),
        (
            "input { name: 'image'\n optional: true }",
            "2: input[0].optional: input 'image': the model cannot run without it",
        ),
        (
            "max_batch_size: 4\ninput { name: 'image' dims: [4, 28] }",
            "2: input[0].dims: input 'image': expected [3, -1] as in the model, found [4, 28]",
        ),
        (
            "max_batch_size: 4\ninput { name: 'image' dims: [-1, 28] }",
            "2: input[0].dims: input 'image': expected [3, -1] as in the model, found [-1, 28]",
        ),
        (
            "max_batch_size: 4\ninput { name: 'image' dims: [-1, 3, 28] }",
            "2: input[0].dims: input 'image': expected [3, -1] as in the model,"
            " found [-1, 3, 28]; with max_batch_size above 0, dims leave out the batch dimension",
        ),
        (
            "\noutput { name: 'scores' dims: [10] }",
            "2: output[0].dims: output 'scores': expected [-1, 10] as in the model, found [10];"
            " with max_batch_size 0, dims are the whole shape",
        ),
    ],
)
def test_a_contradiction_names_line_tensor_expected_and_found(text, message):
    assert error_of(text) == message


# A backend without a model file has the signature that the config declares.


def test_a_declared_signature_is_what_the_config_says():
    text = (
        "backend: 'identity' max_batch_size: 8"
        " input { name: 'x' data_type: TYPE_STRING dims: 3 optional: true }"
        " output { name: 'y' data_type: TYPE_STRING dims: 3 }"
    )
    signature = declared_signature(parse_config(text), "identity")
    assert signature.inputs == (Tensor("x", "BYTES", (-1, 3), optional=True),)
    assert signature.outputs == (Tensor("y", "BYTES", (-1, 3)),)
    assert served(text, signature).max_batch_size == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " backend 'identity' has no model file: write its input and output here"),
        ("input { name: 'x' }", " backend 'identity' has no model file"),
        (
            "input { name: 'x' }\noutput { name: 'y' }",
            "1: input[0]: 'x': expected a data_type",
        ),
        (
            "input { name: 'x' data_type: TYPE_INT8 }\noutput { name: 'y' }",
            "1: input[0]: 'x': expected dims",
        ),
        (
            "input [ { name: 'x' }, { name: 'z' } ]\noutput { name: 'y' }",
            "2: output: backend 'identity' answers output i with input i:"
            " expected 2 outputs, found 1",
        ),
    ],
)
def test_what_is_missing_in_a_declaration_is_named(text, message):
    config = parse_config(f"backend: 'identity' {text}", "m/config.pbtxt")
    with pytest.raises(Error) as caught:
        declared_signature(config, "identity")
    assert caught.value.message.removeprefix("m/config.pbtxt:").startswith(message)


def test_types_are_spelled_as_configs_spell_them():
    assert (type_name("BYTES"), type_name("FP32")) == ("TYPE_STRING", "TYPE_FP32")
