"""/v2/models/{m}/config answers in Triton's spelling, so that Triton's clients can read it."""

import json

from google.protobuf import json_format

from fastserve.config.completion import ModelDefaults, complete
from fastserve.config.config_json import to_json
from fastserve.config.model_config import ModelConfig, Signature, Tensor
from fastserve.config.read_config import parse_config
from tests.python.config.triton_schema import triton_config_class

SIGNATURE = Signature(
    "onnxruntime_onnx",
    (Tensor("x", "FP32", (-1, 3)), Tensor("t", "BYTES", (-1, 1), optional=True)),
    (Tensor("y", "BF16", (-1, -1)),),
)


def answer(text="", probe=lambda: (True, "rows are independent")):
    config = parse_config(text) if text else ModelConfig()
    served = complete(config, SIGNATURE, ModelDefaults(instance_count=2), probe)
    plain = to_json("m", SIGNATURE.platform, config, served)
    return json.loads(json.dumps(plain, allow_nan=False))


def test_a_model_without_a_config_is_described_whole():
    assert answer() == {
        "name": "m",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 32,
        "input": [
            {"name": "x", "data_type": "TYPE_FP32", "dims": [3], "optional": False},
            {"name": "t", "data_type": "TYPE_STRING", "dims": [1], "optional": True},
        ],
        "output": [{"name": "y", "data_type": "TYPE_BF16", "dims": [-1]}],
        "instance_group": [{"name": "m_0", "kind": "KIND_CPU", "count": 2}],
        "default_model_filename": "model.onnx",
        "parameters": {},
        "dynamic_batching": {
            "preferred_batch_size": [],
            "max_queue_delay_microseconds": 0,
            "default_queue_policy": {"max_queue_size": 1024},
        },
    }


def test_without_a_batch_dimension_dims_are_the_whole_shape():
    plain = answer(probe=lambda: (False, "rows depend"))
    assert plain["max_batch_size"] == 0
    assert plain["input"][0]["dims"] == [-1, 3]
    assert "dynamic_batching" not in plain


def test_a_version_policy_is_spelled_as_triton_spells_it():
    specific = answer("version_policy { specific { versions: [2, 3] } }")
    assert specific["version_policy"] == {"specific": {"versions": [2, 3]}}
    assert answer("version_policy { all { } }")["version_policy"] == {"all": {}}


# 64-bit integers too: protobuf's own JSON would write "5".
def test_integers_are_numbers():
    text = """
        max_batch_size: 8
        dynamic_batching {
          max_queue_delay_microseconds: 5
          preferred_batch_size: 4
          default_queue_policy { default_timeout_microseconds: 6 }
        }
        """
    batching = answer(text)["dynamic_batching"]
    assert batching == {
        "preferred_batch_size": [4],
        "max_queue_delay_microseconds": 5,
        "default_queue_policy": {"default_timeout_microseconds": 6, "max_queue_size": 1024},
    }
    unused = answer("max_batch_size: 1 dynamic_batching { max_queue_delay_microseconds: 5 }")
    assert unused["dynamic_batching"] == {"max_queue_delay_microseconds": 5}


def test_what_has_no_effect_is_shown_as_it_was_written():
    plain = answer("metric_tags { key: 'a' value: 'b' } optimization { priority: PRIORITY_MAX }")
    assert plain["metric_tags"] == {"a": "b"}
    assert plain["optimization"] == {"priority": "PRIORITY_MAX"}


def test_parameters_are_shown():
    plain = answer("parameters { key: 'intra_op_thread_count' value { string_value: '2' } }")
    assert plain["parameters"] == {"intra_op_thread_count": {"string_value": "2"}}


# The strictest client: one that parses the answer into Triton's own message.
def test_triton_s_own_message_takes_the_answer():
    text = """
        max_batch_size: 8 version_policy { specific { versions: 1 } }
        dynamic_batching { preferred_batch_size: 4 } metric_tags { key: 'a' value: 'b' }
        model_metrics { metric_control { histogram_options { buckets: [1, 2.5] } } }
        """
    for plain in (answer(), answer(text)):
        message = json_format.ParseDict(plain, triton_config_class()())
        assert message.max_batch_size == plain["max_batch_size"]
        assert message.input[0].dims == [3]
