"""A body is a JSON object or nothing."""

import pytest

from fastserve.errors import Error
from fastserve.server.routes.bodies import json_object


@pytest.mark.parametrize(
    ("text", "expected"), [(b"", {}), (b"{}", {}), (b'{"a": [1]}', {"a": [1]})]
)
def test_an_object_or_nothing(text, expected):
    assert json_object(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "the body is not JSON: "),
        (b" ", "the body is not JSON: "),
        (b"\xff", "the body is not JSON: "),
        (b"[" * 100_000, "the body is not JSON: "),
        (b"[]", "the body: expected a JSON object"),
        (b"null", "the body: expected a JSON object"),
    ],
)
def test_anything_else_is_refused(text, reason):
    with pytest.raises(Error) as caught:
        json_object(text)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.message.startswith(reason)
