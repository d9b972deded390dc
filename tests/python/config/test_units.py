"""Sizes, durations and counts are read exactly, and what is unclear is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastserve.config.units import (
    COUNT_MAX,
    format_bytes,
    format_duration_ns,
    parse_bytes,
    parse_duration_ns,
    parse_integer,
)

CORE_MAX = 2**63 - 1


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("64MiB", 64 << 20),
        ("64mib", 64 << 20),
        ("64M", 64 << 20),
        (" 64 MiB ", 64 << 20),
        ("500kB", 500_000),
        ("1.5GiB", 3 << 29),
        (".5k", 512),
        ("1.b", 1),
        # 2**53 + 1: a float would lose its last digit.
        ("9007199254740993", 9007199254740993),
        (str(CORE_MAX), CORE_MAX),
    ],
)
def test_a_size_is_read_exactly(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("0", 0),
        ("2", 2 * 10**9),
        ("5ms", 5_000_000),
        ("5 MS", 5_000_000),
        ("1.5s", 1_500_000_000),
        ("500us", 500_000),
        ("500\u00b5s", 500_000),
        ("500\u03bcs", 500_000),
        ("7ns", 7),
        ("2m", 120 * 10**9),
        ("2min", 120 * 10**9),
        ("1h", 3600 * 10**9),
        ("0.1s", 100_000_000),
    ],
)
def test_a_duration_is_read_exactly(text, duration_ns):
    assert parse_duration_ns(text) == duration_ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "-1",
        "+1",
        "1e3",
        "1 2",
        "5 parsecs",
        "1,5",
        "inf",
        "nan",
        "0x10",
        "1_000",
        "٣",
    ],
)
@pytest.mark.parametrize("parse", [parse_bytes, parse_duration_ns])
def test_what_is_not_a_quantity_is_refused_with_an_example(parse, text):
    with pytest.raises(
        ValueError, match=f"expected a .* such as .*, found '{text}'".replace("+", ".")
    ):
        parse(text)


# float("9" * 400) is infinite, int("9" * 5000) is a ValueError of another kind.
@pytest.mark.parametrize(
    "text", [str(CORE_MAX + 1), "1e400", "9" * 40 + "h", "9" * 400, "9" * 5000]
)
@pytest.mark.parametrize("parse", [parse_bytes, parse_duration_ns])
def test_what_the_core_cannot_hold_is_refused(parse, text):
    with pytest.raises(ValueError, match="expected a"):
        parse(text)


@given(st.text())
def test_any_text_is_a_size_or_a_value_error(text):
    for parse in (parse_bytes, parse_duration_ns):
        with contextlib.suppress(ValueError):
            assert 0 <= parse(text) <= CORE_MAX


@given(st.integers(0, CORE_MAX))
def test_a_formatted_size_reads_back_the_same(count):
    assert parse_bytes(format_bytes(count)) == count


@given(st.integers(0, 10**15))
def test_a_formatted_duration_reads_back_within_its_three_digits(duration_ns):
    again_ns = parse_duration_ns(format_duration_ns(duration_ns))
    assert abs(again_ns - duration_ns) <= duration_ns * 0.0051


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1250, "1.25 us"),
        (999_499, "999 us"),
        (999_500, "1 ms"),  # Not 1e+03 us.
        (1_250_000, "1.25 ms"),
        (999_999_999, "1 s"),
        (30 * 10**9, "30 s"),
        (3600 * 10**9, "3600 s"),  # Not 3.6e+03 s.
    ],
)
def test_a_duration_is_shown_with_three_digits(duration_ns, text):
    assert format_duration_ns(duration_ns) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0B"), (1023, "1023B"), (1 << 20, "1MiB"), (3 << 29, "1536MiB")]
)
def test_a_size_is_shown_in_the_largest_unit_that_divides_it(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "expected an integer of at least 1, found 'x'"),
        ("0", "expected an integer of at least 1, found '0'"),
        ("1.0", "expected an integer of at least 1, found '1.0'"),
        ("1_0", "expected an integer of at least 1, found '1_0'"),
        ("٣", "expected an integer of at least 1, found '٣'"),
        (str(COUNT_MAX + 1), f"expected an integer from 1 to {COUNT_MAX}, found '{COUNT_MAX + 1}'"),
    ],
)
def test_what_is_not_a_count_is_refused(text, message):
    with pytest.raises(ValueError) as caught:
        parse_integer(text, 1)
    assert str(caught.value) == message


def test_a_count_between_two_limits_names_both():
    assert parse_integer(" 65535 ", 0, 65535) == 65535
    with pytest.raises(ValueError, match="expected an integer from 0 to 65535, found '65536'"):
        parse_integer("65536", 0, 65535)


# int() would first spend quadratic time, and then refuse with another message.
def test_a_count_of_thousands_of_digits_is_refused():
    with pytest.raises(ValueError, match="expected an integer"):
        parse_integer("9" * 5000, 0)
