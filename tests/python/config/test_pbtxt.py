"""A config.pbtxt is read as protobuf reads it, and a mistake is named with its line."""

import pytest

from fastserve.config import pbtxt
from fastserve.config.pbtxt import Source
from fastserve.errors import Error


def lines_of(text):
    return pbtxt.parse(text, "m/config.pbtxt")[1].lines


def error_of(text):
    """The message without the file's name."""
    with pytest.raises(Error) as caught:
        pbtxt.parse(text, "m/config.pbtxt")
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.message.startswith("m/config.pbtxt:")
    return caught.value.message.removeprefix("m/config.pbtxt:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Names.
        ("max_batch_sise: 4", "1: unknown field 'max_batch_sise'; did you mean 'max_batch_size'?"),
        ("\n# c\ninput { dim: 4 }", "3: unknown field 'dim' in input; did you mean 'dims'?"),
        (
            "input [\n  { name: 'a' },\n  { named: 'b' }\n]",
            "3: unknown field 'named' in input; did you mean 'name'?",
        ),
        (
            'parameters { key: "a" value { string: "x" } }',
            "1: unknown field 'string' in parameters.value; did you mean 'string_value'?",
        ),
        ("zebra: 1", "1: unknown field 'zebra'"),
        ("scheduling_choice: 1", "1: unknown field 'scheduling_choice'"),
        ("name 'a'", "1: name: expected \":\", found 'a'"),
        ("name: 'a';;", "1: expected the name of a field, found ;"),
        ("name: 'a' }", "1: expected the name of a field, found }"),
        ("\n[a.b]: 3", "2: expected the name of a field, found"),
        # Values.
        ("max_batch_size: four", "1: max_batch_size: expected an integer, found four"),
        ("max_batch_size: 1e3", "1: max_batch_size: expected an integer, found 1e3"),
        ("max_batch_size:\n\n[4]", "3: max_batch_size: expected an integer, found ["),
        (
            "max_batch_size: 2147483648",
            "1: max_batch_size: expected an integer from -2147483648 to 2147483647,"
            " found 2147483648",
        ),
        (
            "dynamic_batching { max_queue_delay_microseconds: -1 }",
            "1: dynamic_batching.max_queue_delay_microseconds: expected an integer"
            " from 0 to 18446744073709551615, found -1",
        ),
        ("name: model", '1: name: expected a string in "quotes", found model'),
        ('name: "a\nb"', '1: name: expected a string that ends on its line, found "a'),
        (
            r"name: '\ud800'",
            r"1: name: expected a string with valid escapes, in UTF-8, found '\ud800'",
        ),
        (
            'name: "\\xff"\n\n\nmax_batch_size: 4',
            r'1: name: expected a string with valid escapes, in UTF-8, found "\xff"',
        ),
        ('name: "\\xff"', r'1: name: expected a string with valid escapes, in UTF-8, found "\xff"'),
        ("input { optional: maybe }", "1: input.optional: expected true or false, found maybe"),
        (
            "input { data_type: TYPE_FLOAT32 }",
            "1: input.data_type: unknown value 'TYPE_FLOAT32'; did you mean 'TYPE_FP32'?",
        ),
        (
            "input { format: zzz }",
            "1: input.format: unknown value 'zzz';"
            " expected one of FORMAT_NONE, FORMAT_NHWC, FORMAT_NCHW",
        ),
        (
            "input { data_type: TYPE_FP32 }\ninput { data_type: 99 }",
            "2: input[1].data_type: there is no value with the number 99",
        ),
        ("parameters: 'a'", "1: parameters: expected { ... } with key, value, found 'a'"),
        ("version_policy { all: 1 }", "1: version_policy.all: expected { ... } with nothing in it"),
        # Lists.
        ("input {\n dims: [1,\n 2,\n ] }", "4: input.dims: expected an integer, found ]"),
        ("input { dims: [1 2] }", '1: input.dims: expected ",", found 2'),
        ("input { dims [1] }", '1: input.dims: expected ":", found ['),
        ("input [ { }\n{ } ]", '2: input: expected ",", found {'),
        # What exclude each other.
        ("name: 'a'\nname: 'b'", "2: name: given twice, expected once"),
        ("input { name: 'a'\nname: 'b' }", "2: input.name: given twice, expected once"),
        ("dynamic_batching { }\ndynamic_batching { }", "2: dynamic_batching: given twice"),
        (
            "dynamic_batching { }\nsequence_batching { }",
            "2: sequence_batching and dynamic_batching exclude each other; keep one",
        ),
        (
            "version_policy { latest { }\nall { } }",
            "2: all and latest exclude each other; keep one",
        ),
        # Ends.
        ("input {\n\n", '1: input, opened on line 1: expected "}" before the end of the file'),
        ("input <\nname: 'a'", '2: input, opened on line 1: expected ">" before the end'),
        ("input {\nname:\n\n", "2: input.name: unfinished at the end of the file"),
        ("\nname", "2: name: unfinished at the end of the file"),
        ("input [", "1: input: unfinished at the end of the file"),
    ],
)
def test_a_mistake_is_named_with_its_line(text, message):
    found = error_of(text)
    assert found.startswith(message)
    assert "inference.Model" not in found  # Nobody outside knows our package.


# Both list syntaxes, both brackets, both quotes, with and without colons, separators and comments.
@pytest.mark.parametrize(
    "text",
    [
        'input { name: "a" dims: 1 dims: 2 } input { name: "b" }',
        "input [ { name: 'a' dims: [ 1, 2 ] }, { name: 'b' } ]",
        "input: [ < name: 'a', dims: [1,2]; >, < name: 'b' > ]",
        "input: { name: 'a' dims: [1], dims: 2 }; input: { name: 'b'; },",
        "# c\ninput { # c\n name: 'a' # '{[\"\n dims: [ # c\n 0x1, # c\n 2 ] } input { name: 'b' }",
        "input{name:'a'dims:[1,2]}input{name:\"\"'b'}",
        "\r\ninput { name: '\\141' dims: [1,\r\n2] }\r\n input { name: '\\x62' }",
    ],
)
def test_every_way_to_write_a_list_is_read(text):
    message, _ = pbtxt.parse(text, "")
    assert [(item.name, list(item.dims)) for item in message.input] == [("a", [1, 2]), ("b", [])]


def test_every_field_knows_its_line():
    lines = lines_of(
        "# comment\n"  # 1
        'name: "m"\n'
        "input [\n"  # 3
        "  {\n"
        "    name: 'a'  # }\n"  # 5
        "    dims: [ 1,\n"
        "            2 ]\n"
        "  },\n"
        "  { dims: [ ] name: 'b' } ]\n"  # 9
        "output {}\n"
        "output\n{\n name: 'c'\n 'd' dims: 7\n dims: 8 }\n"  # 11
        "parameters { key: 'k.1' value { string_value: 'v' } }\n"  # 16
        "parameters: { value {}\n key: 'l' }\n"
    )
    expected = {
        "name": 2, "name[0]": 2,
        "input": 3, "input[0]": 4, "input[0].name": 5, "input[0].dims": 6, "input[0].dims[1]": 7,
        "input[1]": 9, "input[1].dims": 9,
        "output": 10, "output[0]": 10, "output[1]": 11, "output[1].name": 13,
        "output[1].dims[0]": 14, "output[1].dims[1]": 15,
        "parameters[0]": 16, 'parameters["k.1"]': 16, 'parameters["l"]': 17,
    }  # fmt: skip
    assert {key: lines.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("input[1].dims", "f:7"),
        ("input[1].name", "f:6"),
        ("input[1].reshape.shape", "f:6"),
        ("input", "f:3"),
        ('parameters["a.b"]', "f:9"),
        ('parameters["none"]', "f"),
        ("dynamic_batching.preferred_batch_size", "f:8"),
        ("max_batch_size", "f"),
        ("", "f"),
    ],
)
def test_a_field_that_is_not_written_has_the_line_of_what_is_around_it(where, place):
    lines = {
        "input": 3, "input[0]": 3, "input[1]": 6, "input[1].dims": 7, "dynamic_batching": 8,
        'parameters["a.b"]': 9,
    }  # fmt: skip
    assert Source("f", lines).at(where) == place


def test_an_error_at_a_field_names_file_line_and_field():
    assert Source("f", {"name": 2}).wrong("name", "no").message == "f:2: name: no"
    assert Source("f").wrong("", "no").message == "f: no"


def test_a_file_is_read_whatever_its_line_ends_and_its_mark(tmp_path):
    path = tmp_path / "config.pbtxt"
    path.write_bytes(b"\xef\xbb\xbf# c\r\nname: 'a'\r# c\rmax_batch_size: 4\r\n")
    message, source = pbtxt.read(path, "m/config.pbtxt")
    assert (message.name, message.max_batch_size) == ("a", 4)
    assert source.at("max_batch_size") == "m/config.pbtxt:4"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(Error, match=r"^m/config\.pbtxt: No such file or directory$"):
        pbtxt.read(tmp_path / "none", "m/config.pbtxt")
    with pytest.raises(Error, match=r"^m/config\.pbtxt: Is a directory$"):
        pbtxt.read(tmp_path, "m/config.pbtxt")


# An installation without the dependency, as with `pip install --no-deps`.
def test_without_protobuf_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    path = tmp_path / "config.pbtxt"
    path.write_text("name: 'a'")
    monkeypatch.setitem(__import__("sys").modules, "google.protobuf", None)
    with pytest.raises(Error, match="needs protobuf; install it: pip install protobuf"):
        pbtxt.read(path, "m/config.pbtxt")
