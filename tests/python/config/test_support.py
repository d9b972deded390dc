"""Nothing in a config is ignored in silence: every field of the schema has its line."""

import pytest
from google.protobuf import text_format

from fastserve.config import schema, support
from fastserve.config.pbtxt import Source
from fastserve.errors import Error
from tests.python.config.triton_schema import fill, is_map

SOURCE = Source("m/config.pbtxt")


def paths(message, prefix=""):
    """Every field that walk() may name, from the schema alone."""
    for field in message.fields:
        path = prefix + field.name
        yield path
        decided = path in support.WARNED or path in support.REFUSED
        if field.message_type is not None and not is_map(field) and not decided:
            yield from paths(field.message_type, path + ".")


ALL_PATHS = list(paths(schema.model_config_class().DESCRIPTOR))


def message_of(text):
    return text_format.Parse(text, schema.model_config_class()())


def test_every_field_of_the_schema_has_one_line():
    tables = [support.HONOURED, set(support.WARNED), set(support.REFUSED)]
    for path in ALL_PATHS:
        assert sum(path in table for table in tables) == 1, path


def test_every_line_is_a_field_of_the_schema():
    assert {*support.HONOURED, *support.WARNED, *support.REFUSED} <= set(ALL_PATHS)


# A sentence goes behind a colon: it is no sentence of its own, and it says something.
@pytest.mark.parametrize("reason", {*support.WARNED.values(), *support.REFUSED.values()})
def test_a_reason_fits_behind_a_colon(reason):
    assert len(reason) > 20
    assert reason[-1] != "."


def test_walking_a_config_with_everything_names_every_field_that_is_not_alone_in_a_oneof():
    message = schema.model_config_class()()
    fill(message)
    walked = {path for path, _ in support.walk(message)}
    missing = set(ALL_PATHS) - walked
    excluded = ("version_policy.latest", "version_policy.all", "dynamic_batching", "sequence_")
    assert all(path.startswith(excluded) for path in missing), missing


def test_walking_names_the_place_with_its_index():
    message = message_of(
        "input { name: 'a' } input { reshape { shape: 1 } } parameters { key: 'k' }"
    )
    assert list(support.walk(message)) == [
        ("input", "input"),
        ("input.name", "input[0].name"),
        ("input.reshape", "input[1].reshape"),
        ("parameters", "parameters"),
    ]


# Set each refused field alone: the message names it and says what to do.
@pytest.mark.parametrize("path", support.REFUSED)
def test_every_refused_field_is_refused_by_name(path):
    message = with_only(path)
    with pytest.raises(Error) as caught:
        support.judge(message, SOURCE)
    indexed = path.replace("input.", "input[0].").replace("output.", "output[0].")
    indexed = indexed.replace("group.", "group[0].")
    assert caught.value.message == f"m/config.pbtxt: {indexed}: {support.REFUSED[path]}"


@pytest.mark.parametrize("path", support.WARNED)
def test_every_warned_field_is_named_in_one_warning(path):
    message = with_only(path)
    (warning,) = support.judge(message, SOURCE)
    assert warning.endswith(f" has no effect: {support.WARNED[path]}")
    assert path.rpartition(".")[2] in warning


def with_only(path):
    """A config in which one field is set, to something that is not its default."""
    message = parent = schema.model_config_class()()
    *around, name = path.split(".")
    for part in around:
        parent = getattr(parent, part)
        parent = parent.add() if hasattr(parent, "add") else parent
    full = type(parent)()
    fill(full)
    if not any(field.name == name for field, _ in full.ListFields()):  # It lost to its oneof.
        fill(getattr(full, name))
    for field, _ in full.ListFields():
        if field.name != name:
            full.ClearField(field.name)
    parent.MergeFrom(full)
    return message


@pytest.mark.parametrize(
    "text",
    [
        "model_transaction_policy { decoupled: false }",
        "model_transaction_policy { }",
        "response_cache { enable: false }",
        "input { name: 'a' optional: false allow_ragged_batch: false is_shape_tensor: false }",
        "instance_group { passive: false kind: KIND_AUTO }",
    ],
)
def test_what_is_written_as_off_asks_for_nothing(text):
    assert support.judge(message_of(text), SOURCE) == []


def test_what_is_inside_a_warned_field_shares_its_fate():
    message = message_of("optimization { cuda { graphs: true busy_wait_events: true } }")
    (warning,) = support.judge(message, SOURCE)
    assert warning.startswith("m/config.pbtxt: optimization.cuda has no effect: ")


def test_a_warning_names_the_line():
    message = message_of("metric_tags { key: 'a' value: 'b' }")
    (warning,) = support.judge(message, Source("m/config.pbtxt", {"metric_tags": 7}))
    assert warning.startswith("m/config.pbtxt:7: metric_tags has no effect: ")
