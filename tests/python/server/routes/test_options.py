"""OPTIONS, with and without a browser that asks for leave."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastserve.errors import Error
from fastserve.server.routes.options import WrongVerb, options, refuse_foreign_page

PREFLIGHT = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST")]


def ask(path: str, headers: list[tuple[str, str]], *, has_cors: bool) -> dict[str, str]:
    request = cast(Any, SimpleNamespace(path=path, headers=headers))
    response = options(request, has_cors=has_cors)
    assert (response.status, response.body) == (204, b"")
    return dict(response.headers)


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v2", "GET, HEAD, OPTIONS"),
        ("/v2/models/any/infer", "POST, OPTIONS"),
        ("/v2/logging", "GET, HEAD, POST, OPTIONS"),
        ("*", "GET, HEAD, POST, OPTIONS"),
    ],
)
def test_what_a_path_takes(path, allow):
    for has_cors in (False, True):
        assert ask(path, [], has_cors=has_cors) == {"Allow": allow}


def test_a_page_is_told_what_it_may_send():
    found = ask("/v2/models/any/infer", PREFLIGHT, has_cors=True)
    assert found["Access-Control-Allow-Methods"] == "POST"
    assert "Inference-Header-Content-Length" in found["Access-Control-Allow-Headers"]
    assert found["Access-Control-Max-Age"] == "600"
    assert ask("/v2/models/any/infer", PREFLIGHT, has_cors=False) == {"Allow": "POST, OPTIONS"}


def test_a_wrong_verb_names_the_right_ones():
    error = WrongVerb("PUT", "/v2", ("GET", "HEAD", "OPTIONS"))
    assert error.message == "PUT is not possible at /v2; use GET or HEAD"
    assert error.allow == "GET, HEAD, OPTIONS"


def changes(origin: str | None, host: str, *allowed: str) -> bool:
    """Whether a request with these fields may change the server."""
    headers = [("Host", host), *([("Origin", origin)] if origin is not None else [])]
    request = cast(Any, SimpleNamespace(headers=headers))
    try:
        refuse_foreign_page(request, allowed)
    except Error as error:
        return (error.http_status, "--cors-origins" in error.message) != (403, True)
    return True


def test_a_program_or_the_servers_own_page_may_change_it():
    assert changes(None, "localhost:8000")
    assert changes("http://localhost:8000", "localhost:8000")
    assert changes("https://models.example", "Models.Example")  # Behind a proxy.
    assert changes("http://[::1]:8000", "[::1]:8000")


def test_another_page_may_only_if_it_is_allowed():
    for origin in ("https://evil.example", "null", "", "http://localhost", "http://[", "x" * 999):
        assert not changes(origin, "localhost:8000")
        assert not changes(origin, "")
        assert changes(origin, "localhost:8000", "*")
    assert changes("https://a.example", "localhost:8000", "https://a.example")
    assert not changes("https://a.example", "localhost:8000", "https://b.example")
