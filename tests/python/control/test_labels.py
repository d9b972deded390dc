"""What may be a label."""

import pytest

from fastserve.control.labels import check_label, is_label
from fastserve.errors import Error


@pytest.mark.parametrize("text", ["stable", "v1.2", "a", "-", "1a", "A_b-c.9", "x" * 64])
def test_labels(text):
    check_label(text)
    assert is_label(text)


@pytest.mark.parametrize("text", ["", "1", "-1", "007", "a b", "a/b", "ä", "²", "a\n", "x" * 65])
def test_no_labels(text):
    assert not is_label(text)
    with pytest.raises(Error, match="expected as label 1 to 64 letters"):
        check_label(text)
