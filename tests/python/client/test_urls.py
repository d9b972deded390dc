from __future__ import annotations

import pytest

from fastserve.client.urls import parse
from fastserve.errors import Error


@pytest.mark.parametrize(
    ("url", "is_grpc", "is_tls", "authority", "prefix"),
    [
        ("a:8000", False, False, "a:8000", ""),
        ("http://a:8000", False, False, "a:8000", ""),
        ("http://a", False, False, "a:80", ""),
        ("https://a/x/y/", False, True, "a:443", "/x/y"),
        ("grpc://a:8001", True, False, "a:8001", ""),
        ("grpcs://a", True, True, "a:443", ""),
        ("http://[::1]:8000", False, False, "[::1]:8000", ""),
        ("127.0.0.1:8000", False, False, "127.0.0.1:8000", ""),
    ],
)
def test_addresses(url, is_grpc, is_tls, authority, prefix):
    address = parse(url)
    assert (address.is_grpc, address.is_tls) == (is_grpc, is_tls)
    assert (address.authority, address.prefix) == (authority, prefix)


def test_sockets():
    address = parse("grpc+unix:/run/x.sock")
    assert (address.is_grpc, address.unix_path) == (True, "/run/x.sock")
    assert parse("http+unix:///run/x.sock").unix_path == "/run/x.sock"
    assert address.authority == "localhost"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "expected http"),
        ("ftp://a", "expected http"),
        ("http://", "expected http"),
        ("http://a:x", "the port is no number"),
        ("http://a:70000", "the port is no number"),
        ("grpc://a", "expected a port, e.g. grpc://a:8001"),
        ("grpc://a:1/x", "a path means nothing"),
        ("http://user:secret@a", "without a user"),
        ("http://a?b", "without a user, a query"),
        ("http+unix:x", "expected http"),
        ("ftp+unix:/x", "expected http"),
    ],
)
def test_what_is_none(url, why):
    with pytest.raises(Error, match="(?i)" + why) as caught:
        parse(url)
    assert caught.value.code == "INVALID_ARGUMENT"
