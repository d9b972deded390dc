"""From a config.pbtxt to a ModelConfig: what is said is read, what is wrong is named."""

import pytest

from fastserve.config.model_config import DynamicBatching, ModelConfig, TensorConfig, VersionPolicy
from fastserve.config.read_config import parse_config, read_config
from fastserve.errors import Error

RICH = """
# A model as people configure it for Triton.
name: "digits"
platform: "onnxruntime_onnx"
backend: "onnxruntime"
max_batch_size: 16
default_model_filename: "digits.onnx"
version_policy: { specific: { versions: [ 3, 1 ] } }
input [
  { name: "image" data_type: TYPE_FP32 dims: [ 1, 28, -1 ] },
  { name: "text" data_type: TYPE_STRING dims: 1 optional: true }
]
output { name: "scores" data_type: TYPE_FP16 dims: [ 10 ] }
instance_group [ { count: 2 kind: KIND_CPU }, { kind: KIND_AUTO } ]
dynamic_batching {
  preferred_batch_size: [ 8, 4, 8 ]
  max_queue_delay_microseconds: 100
  default_queue_policy { max_queue_size: 64 }
}
optimization {
  graph { level: -1 }
  execution_accelerators {
    gpu_execution_accelerator { name: "cuda" parameters { key: "device_id" value: "0" } }
    cpu_execution_accelerator { name: "openvino" }
  }
}
parameters { key: "intra_op_thread_count" value: { string_value: "2" } }
"""


def error_of(text):
    with pytest.raises(Error) as caught:
        parse_config(text, "m/config.pbtxt")
    assert caught.value.code == "INVALID_ARGUMENT"
    return caught.value.message.removeprefix("m/config.pbtxt:")


def test_a_rich_config_is_read_whole():
    config = parse_config(RICH)
    assert config.name == "digits"
    assert config.backend == "onnxruntime"
    assert config.default_model_filename == "digits.onnx"
    assert config.max_batch_size == 16
    assert config.version_policy == VersionPolicy(latest=None, specific=(3, 1))
    assert config.inputs == (
        TensorConfig("image", "input[0]", "FP32", (1, 28, -1)),
        TensorConfig("text", "input[1]", "BYTES", (1,), optional=True),
    )
    assert config.outputs == (TensorConfig("scores", "output[0]", "FP16", (10,)),)
    assert config.instance_count == 3
    assert config.dynamic_batching == DynamicBatching((4, 8), 100_000)
    assert config.queue_depth == 64
    assert config.optimization == "basic"
    assert config.providers == (
        ("CUDAExecutionProvider", {"device_id": "0"}),
        ("OpenVINOExecutionProvider", {}),
    )
    assert config.parameters == {"intra_op_thread_count": "2"}
    assert config.warnings == ()
    assert config.raw["input"][0]["dims"] == [1, 28, -1]
    assert not config.batching_is_automatic


def test_an_empty_config_says_nothing():
    config = parse_config("# nothing\n")
    assert config == ModelConfig(backend="onnxruntime", source=config.source)
    assert config.batching_is_automatic


# 0 is protobuf's default, but who writes it says that there is no batch dimension.
def test_a_batch_size_of_zero_is_something_said():
    assert parse_config("max_batch_size: 0").max_batch_size == 0
    assert not parse_config("max_batch_size: 0").batching_is_automatic


def test_an_empty_dynamic_batching_waits_for_nobody():
    assert parse_config("dynamic_batching { }").dynamic_batching == DynamicBatching((), 0)
    assert parse_config("dynamic_batching { }").queue_depth is None


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", VersionPolicy(latest=1)),
        ("version_policy { }", VersionPolicy(latest=1)),
        ("version_policy { latest { } }", VersionPolicy(latest=1)),
        ("version_policy { latest { num_versions: 3 } }", VersionPolicy(latest=3)),
        ("version_policy { all { } }", VersionPolicy(latest=None)),
    ],
)
def test_a_version_policy_is_read(text, policy):
    assert parse_config(text).version_policy == policy


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ("", "onnxruntime"),
        ("platform: 'onnxruntime_onnx'", "onnxruntime"),
        ("backend: 'identity'", "identity"),
    ],
)
def test_a_backend_is_read(text, backend):
    assert parse_config(text).backend == backend


@pytest.mark.parametrize(
    ("level", "optimization"), [(0, "all"), (-1, "basic"), (1, "extended"), (2, "none")]
)
def test_triton_s_levels_of_optimization_are_read(level, optimization):
    text = f"optimization {{ graph {{ level: {level} }} }}"
    assert parse_config(text).optimization == optimization


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nmax_batch_size: -1", "2: max_batch_size: expected 0 to 65536 rows, found -1"),
        ("max_batch_size: 65537", "1: max_batch_size: expected 0 to 65536 rows, found 65537"),
        (
            "backend: 'onnxruntim'",
            "1: backend: there is no backend 'onnxruntim'; did you mean 'onnxruntime'?",
        ),
        (
            "backend: 'tensorrt_plan'",
            "1: backend: there is no backend 'tensorrt_plan'; expected 'onnxruntime' or 'identity'",
        ),
        (
            "platform: 'tensorflow_graphdef'",
            "1: platform: 'tensorflow_graphdef' is not available; expected 'onnxruntime_onnx'",
        ),
        (
            "backend: 'identity'\nplatform: 'onnxruntime_onnx'",
            "2: platform: 'onnxruntime_onnx' contradicts backend 'identity'",
        ),
        (
            "default_model_filename: '../x.onnx'",
            "1: default_model_filename: expected a file name inside the version directory,"
            " found '../x.onnx'",
        ),
        ("input { }\n", "1: input[0]: expected a name"),
        ("input { name: 'a' }\ninput { name: 'a' }", "2: input[1].name: 'a' is given twice"),
        (
            "output {\n name: 'a'\n dims: [2, 0] }",
            "3: output[0].dims: output 'a': expected lengths of at least 1, or -1 for any,"
            " found [2, 0]",
        ),
        ("input { name: 'a' dims: -2 }", "1: input[0].dims: input 'a': expected lengths"),
        (
            "version_policy { specific { } }",
            "1: version_policy.specific: expected versions, found none",
        ),
        (
            "instance_group { }\ninstance_group { kind: KIND_GPU }",
            "2: instance_group[1].kind: KIND_GPU is not available yet;"
            " expected KIND_CPU or KIND_AUTO",
        ),
        (
            "instance_group { count: -1 }",
            "1: instance_group[0].count: expected at least 1, found -1",
        ),
        (
            "instance_group { count: 1000 }\ninstance_group { count: 25 }",
            "2: instance_group[1].count: expected at most 1024 instances of a model, found 1025",
        ),
        (
            "max_batch_size: 4 dynamic_batching {\n preferred_batch_size: [ 4, 8 ] }",
            "2: dynamic_batching.preferred_batch_size: 8 is above max_batch_size, which is 4",
        ),
        (
            "dynamic_batching { preferred_batch_size: 0 }",
            "1: dynamic_batching.preferred_batch_size: expected at least 1, found 0",
        ),
        (
            "dynamic_batching { max_queue_delay_microseconds: 3600000001 }",
            "1: dynamic_batching.max_queue_delay_microseconds: expected at most 3600000000,"
            " which are 3600 s, found 3600000001",
        ),
        (
            "dynamic_batching { default_queue_policy { max_queue_size: 4294967295 } }",
            "1: dynamic_batching.default_queue_policy.max_queue_size:"
            " expected at most 2147483647, found 4294967295",
        ),
        (
            "optimization { graph { level: 3 } }",
            "1: optimization.graph.level: expected -1 (basic), 1 (extended) or 2 (none), found 3",
        ),
        (
            "optimization { execution_accelerators {"
            "\n gpu_execution_accelerator { name: 'cud' } } }",
            "2: optimization.execution_accelerators.gpu_execution_accelerator[0].name:"
            " unknown accelerator 'cud'; did you mean 'cuda'?",
        ),
        (
            "optimization { execution_accelerators { cpu_execution_accelerator { } } }",
            "1: optimization.execution_accelerators.cpu_execution_accelerator[0].name:"
            " unknown accelerator ''; expected 'openvino' or 'dnnl' or 'xnnpack'",
        ),
        ("\nsequence_batching { }", "2: sequence_batching: sequences are not available yet"),
    ],
)
def test_a_wrong_value_is_named_with_line_and_field(text, message):
    assert error_of(text).startswith(message)


def test_a_parameter_without_effect_is_a_warning_at_its_line():
    config = parse_config(
        "parameters { key: 'intra_op_thread_count' value { string_value: '1' } }\n"
        "parameters { key: 'intra_op_threads_count' value { string_value: '1' } }\n"
        "parameters { key: 'a.b' value { string_value: '1' } }\n",
        "m/config.pbtxt",
    )
    assert sorted(config.warnings) == [
        "m/config.pbtxt:2: parameter 'intra_op_threads_count' has no effect with backend"
        " 'onnxruntime'; did you mean 'intra_op_thread_count'?",
        "m/config.pbtxt:3: parameter 'a.b' has no effect with backend 'onnxruntime'",
    ]


def test_a_field_without_effect_is_a_warning_at_its_line():
    config = parse_config("\n\nmetric_tags { key: 'a' value: 'b' }", "m/config.pbtxt")
    (warning,) = config.warnings
    assert warning.startswith("m/config.pbtxt:3: metric_tags has no effect: ")


def test_a_file_is_read_like_its_text(tmp_path):
    path = tmp_path / "config.pbtxt"
    path.write_text(RICH)
    assert read_config(path, "config.pbtxt") == parse_config(RICH, "config.pbtxt")
