"""A wrong name is answered with the nearest right one, or with none."""

import pytest

from fastserve.config.spelling import NAME_CHARACTERS_MAX, did_you_mean, shorten

FIELDS = ("max_batch_size", "input", "output", "instance_group", "TYPE_FP32")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("max_batch_sise", "max_batch_size"),
        ("max-batch-size", "max_batch_size"),
        ("MaxBatchSize", "max_batch_size"),
        ("inputs", "input"),
        ("type_fp32", "TYPE_FP32"),
        ("FP32", "TYPE_FP32"),
    ],
)
def test_the_nearest_name_is_offered(wrong, right):
    assert did_you_mean(wrong, FIELDS) == f"; did you mean '{right}'?"


@pytest.mark.parametrize("wrong", ["", "zebra", "\0", "x" * 10**7])
def test_nothing_is_offered_where_nothing_is_near(wrong):
    assert did_you_mean(wrong, FIELDS) == ""


def test_nothing_is_offered_where_nothing_is_valid():
    assert did_you_mean("input", ()) == ""


def test_a_long_word_is_shown_short():
    assert shorten("abc") == "abc"
    assert len(shorten("x" * 10**6)) == NAME_CHARACTERS_MAX + 1
