"""The table of schema.py is Triton's schema."""

import json
import math

from google.protobuf import text_format

from fastserve.config import schema
from tests.python.config.triton_schema import fill, triton_config_class


def shape_of(field):
    group = field.containing_oneof.name if field.containing_oneof else None
    values = (
        {value.name: value.number for value in field.enum_type.values} if field.enum_type else {}
    )
    return field.number, field.type, group, values


def differences(ours, theirs, path="", seen=None):
    seen = set() if seen is None else seen
    if theirs.full_name in seen:
        return
    seen.add(theirs.full_name)
    for name in sorted({*ours.fields_by_name, *theirs.fields_by_name}):
        mine, other = ours.fields_by_name.get(name), theirs.fields_by_name.get(name)
        if mine is None or other is None:
            yield f"{path}{name}: only in {'Triton' if mine is None else 'fastserve'}"
            continue
        if shape_of(mine) != shape_of(other):
            yield f"{path}{name}: {shape_of(mine)}, in Triton {shape_of(other)}"
        if other.message_type is not None:
            yield from differences(mine.message_type, other.message_type, f"{path}{name}.", seen)


def test_every_field_number_type_and_enum_is_triton_s():
    ours, theirs = schema.model_config_class().DESCRIPTOR, triton_config_class().DESCRIPTOR
    assert list(differences(ours, theirs)) == []


# Labels (repeated, map) and names show in the text, numbers and types in the bytes.
def test_a_config_with_every_field_is_read_as_triton_reads_it():
    theirs = triton_config_class()()
    fill(theirs)
    ours = text_format.Parse(text_format.MessageToString(theirs), schema.model_config_class()())
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(
        deterministic=True
    )
    again = schema.model_config_class()()
    again.ParseFromString(theirs.SerializeToString())
    assert again == ours
    assert len(again.ListFields()) > 20


def test_every_field_of_every_oneof_is_read_as_triton_reads_it():
    groups = {
        "version_policy": ("latest", "all", "specific"),
        "": ("dynamic_batching", "sequence_batching", "ensemble_scheduling"),
        "sequence_batching": ("direct", "oldest"),
    }
    for inside, choices in groups.items():
        for choice in choices:
            theirs = triton_config_class()()
            parent = getattr(theirs, inside) if inside else theirs
            getattr(parent, choice).SetInParent()
            fill(getattr(parent, choice))
            text = text_format.MessageToString(theirs)
            ours = text_format.Parse(text, schema.model_config_class()())
            assert ours.SerializeToString() == theirs.SerializeToString()


def test_every_message_and_enum_of_the_table_is_used():
    root = schema.model_config_class().DESCRIPTOR
    used, waiting = set(), [root]
    while waiting:
        message = waiting.pop()
        if message.full_name in used:
            continue
        used |= {message.full_name, message.name}
        waiting += [field.message_type for field in message.fields if field.message_type]
        used |= {field.enum_type.name for field in message.fields if field.enum_type}
    assert {*root.file.message_types_by_name, *root.file.enum_types_by_name} <= used


# protobuf's own JSON writes "dims": ["3"], and clients would have to know.
def test_plain_data_has_integers_as_numbers_and_enums_by_name():
    message = schema.model_config_class()()
    text = """
        version_policy { specific { versions: [1, 9007199254740993] } }
        input { name: "x" data_type: TYPE_FP32 dims: [-1, 3] optional: true }
        dynamic_batching {
          priority_queue_policy { key: 2 value { timeout_action: DELAY } }
          max_queue_delay_microseconds: 5
        }
        parameters { key: "a" value { string_value: "b" } }
        metric_tags { key: "k" value: "v" }
        """
    assert schema.to_plain(text_format.Parse(text, message)) == {
        "version_policy": {"specific": {"versions": [1, 9007199254740993]}},
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 3], "optional": True}],
        "dynamic_batching": {
            "max_queue_delay_microseconds": 5,
            "priority_queue_policy": {"2": {"timeout_action": "DELAY"}},
        },
        "parameters": {"a": {"string_value": "b"}},
        "metric_tags": {"k": "v"},
    }


def test_plain_data_of_every_field_is_json():
    message = schema.model_config_class()()
    fill(message)
    plain = json.loads(json.dumps(schema.to_plain(message), allow_nan=False))
    assert set(plain) == {field.name for field, _ in message.ListFields()}


def test_numbers_that_json_lacks_become_text():
    message = schema.model_config_class()()
    buckets = message.model_metrics.metric_control.add().histogram_options.buckets
    buckets.extend([0.5, math.inf, math.nan])
    (control,) = schema.to_plain(message)["model_metrics"]["metric_control"]
    assert control["histogram_options"]["buckets"] == [0.5, "inf", "nan"]
