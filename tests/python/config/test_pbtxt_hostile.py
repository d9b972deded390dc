"""Whatever bytes a config.pbtxt holds, the answer is a config or a clear Error, soon."""

import contextlib
import faulthandler

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastserve.config import pbtxt
from fastserve.config.read_config import parse_config, read_config
from fastserve.errors import Error

# Pieces that a config is made of, so that random sequences of them get past the first token.
WORDS = """
    name input output dims data_type TYPE_FP32 parameters key value string_value max_batch_size
    version_policy latest all specific versions dynamic_batching sequence_batching optimization
    preferred_batch_size model_warmup inputs instance_group count kind KIND_CPU reshape shape
    backend identity model_transaction_policy decoupled true false
    """
SIGNS = [*"{}[]<>:;,.#\"'\\/-+\n \t\0\r", "''", '"a"', "'\\x'", "{}", "[]", "\ufeff", "\x85"]
NUMBERS = ["0", "1", "-1", "4", "99", "1.5", "1e9", "0x7", "017", "2147483648", "9" * 30]
PIECES = st.lists(st.sampled_from([*WORDS.split(), *SIGNS, *NUMBERS]), max_size=40)


def outcome(text):
    """None, or the message: any other exception fails the test."""
    found = None
    try:
        parse_config(text, "m/config.pbtxt")
    except Error as error:
        found = error
    if found is None:
        return None
    assert found.code == "INVALID_ARGUMENT"
    assert found.message.startswith("m/config.pbtxt")
    assert found.message.isprintable()
    return found.message


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(PIECES.map(" ".join) | PIECES.map("".join) | st.text())
def test_any_text_is_a_config_or_an_error(text):
    outcome(text)


# The line in the message is one of the file.
@settings(max_examples=300, deadline=None)
@given(PIECES.map("\n".join))
def test_an_error_points_into_the_file(text):
    message = outcome(text)
    if message is not None and message.startswith("m/config.pbtxt:"):
        line = message.removeprefix("m/config.pbtxt:").partition(":")[0]
        if line.isdigit():
            assert 1 <= int(line) <= text.count("\n") + 1


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_config_or_an_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.pbtxt"
    path.write_bytes(data)
    with contextlib.suppress(Error):
        read_config(path, "m/config.pbtxt")


@pytest.fixture
def bounded():
    """Ends the process, with a traceback, if a test takes minutes: seconds are expected."""
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


MIB = 1 << 20
LARGE = {
    "one long name": "x" * MIB,
    "one long number": "max_batch_size: " + "9" * MIB,
    "one long string": "name: '" + "x" * MIB + "'",
    "one long comment": "#" * MIB,
    "white space": " " * MIB,
    "quotes that never end": "name: " + '\\"' * (MIB // 2),  # Quadratic, with a naive scanner.
    "an escape at the end": "name: '" + "\\" * MIB,
    "adjacent strings": "name:" + "'a'" * (MIB // 3),
    "messages in messages": "input {" * (MIB // 7),
    "lists in lists": "input [" * (MIB // 7),
    "closing brackets": "}" * MIB,
    "signs": "(" * MIB,
    "colons": "name:" * (MIB // 5),
    "many dims": "input { name: 'a' dims: [" + "1," * (MIB // 3) + "1] }",
    "many inputs": "input { name: 'a' }\n" * (MIB // 20),
    "many parameters": "parameters { key: 'a' value { } }\n" * (MIB // 34),
    "many unknown fields": "a: 1\n" * (MIB // 5),
}


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("name", LARGE)
def test_a_mebibyte_of_anything_is_read_or_refused(name):
    message = outcome(LARGE[name])
    assert message is None or len(message) < 3000


# The limit is on bytes read, so a file that grows or has no end does no harm either.
def test_a_file_above_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / "config.pbtxt"
    path.write_bytes(b"#" * (10 * MIB))
    with pytest.raises(
        Error, match=r"^m/config\.pbtxt: expected at most 1048576 bytes, found more$"
    ):
        read_config(path, "m/config.pbtxt")
    path.write_bytes(b"#" * pbtxt.CONFIG_BYTES_MAX)
    read_config(path, "m/config.pbtxt")


@pytest.mark.parametrize(
    "data", [b"\xff\xfe", b"name: '\xc3'", b"\x80", b"name: '\xed\xa0\x80'", b"\x1f\x8b\x08\0"]
)
def test_a_file_that_is_not_utf8_is_called_so(tmp_path, data):
    path = tmp_path / "config.pbtxt"
    path.write_bytes(data)
    with pytest.raises(Error, match=r"^m/config\.pbtxt: not UTF-8 text; is it a binary file"):
        read_config(path, "m/config.pbtxt")


@pytest.mark.parametrize("digits", ["9" * 20, "9" * 5000, "-" + "9" * 5000, "0x" + "f" * 9000])
@pytest.mark.parametrize(
    "text",
    [
        "max_batch_size: {}",
        "version_policy {{ specific {{ versions: {} }} }}",
        "input {{ name: 'x' dims: [{}] }}",
        "model_warmup {{ inputs {{ key: 'a' value {{ dims: {} }} }} }}",
        "instance_group {{ count: {} }}",
        "input {{ data_type: {} }}",
    ],
)
def test_a_number_that_is_too_large_is_refused_in_a_short_line(text, digits):
    message = outcome(text.format(digits))
    assert message is not None
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "tail"),
    [
        ("name: 'a'\0", ":1: expected the name of a field, found \\x00"),
        ("\0", ":1: expected the name of a field, found \\x00"),
        ("max_batch_size: \0", ":1: max_batch_size: expected an integer, found \\x00"),
        (
            "default_model_filename: 'a\\0b'",
            ":1: default_model_filename: expected a file name inside the version directory,"
            " found 'a\\x00b'",
        ),
    ],
)
def test_a_nul_byte_is_shown_as_an_escape(text, tail):
    assert outcome(text) == "m/config.pbtxt" + tail


# A forged line in the log, and an escape sequence for whoever reads it in a terminal.
def test_names_cannot_forge_a_line():
    config = parse_config("parameters { key: 'a\\nERROR \\x1b[2J' value { } }", "m/config.pbtxt")
    assert all(warning.isprintable() for warning in config.warnings)
    assert len(config.warnings) == 1
