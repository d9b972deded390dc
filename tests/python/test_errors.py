"""An error is one line, whatever came from outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastserve import _core
from fastserve.errors import HTTP_STATUS, LINE_CHARACTERS_MAX, Error, from_core, one_line


# A name in a config or an engine's own words must not forge lines of a log.
@given(st.text())
def test_a_message_is_always_one_printable_line(text):
    error = Error("INTERNAL", text)
    assert error.message.isprintable()
    assert error.args == ("INTERNAL", error.message)
    assert str(error) == error.message


def test_what_is_not_printable_is_escaped_and_the_rest_is_kept():
    assert one_line("a\nb\x00\x1b[0m é 模") == r"a\nb\x00\x1b[0m é 模"


# os.fsdecode() makes lone surrogates of names that are not UTF-8; no codec would write them.
def test_a_surrogate_is_escaped():
    assert one_line("\udcff").encode() == rb"\udcff"


def test_a_long_message_is_cut():
    assert len(one_line("x" * 10**6)) == LINE_CHARACTERS_MAX + 1


def test_the_core_s_errors_keep_their_code_and_message():
    error = from_core(RuntimeError("NOT_FOUND", "no such model\n"))
    assert (error.code, error.message, error.http_status) == ("NOT_FOUND", "no such model", 404)


def test_an_unexpected_error_of_the_core_is_internal():
    assert from_core(RuntimeError("x")).code == "INTERNAL"


@pytest.mark.parametrize("code", HTTP_STATUS)
def test_every_code_is_a_failure_over_http(code):
    assert 400 <= Error(code, "").http_status < 600


def test_the_core_answers_with_the_same_statuses():
    assert _core.HTTP_STATUS == HTTP_STATUS
