"""Attempts: which server is asked, how often, and what ends it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from fastserve.client import CallError, Client, RequestSequence, Retries
from fastserve.errors import Error
from tests.python.client.conftest import HERE, INFERRED, LIMIT_S, Scripted, answer
from tests.python.client.tls_proxy import TlsProxy
from tests.served import HOST, Server

X = np.zeros(1, np.float32)
QUICK = Retries(attempts=4, pause_s=0.001, pause_max_s=0.002)
OK = answer(200, INFERRED)
BUSY = answer(503, b'{"error":"busy"}')
NOBODY = f"http://{HOST}:9"  # Where nothing listens.


def asked(kind: Callable[..., Any], urls: Any, **options: Any) -> Any:
    given = {"retries": QUICK, "timeout": LIMIT_S, **options}
    return closing(kind(urls, **given))


def failure(call: Callable[[], Any]) -> CallError:
    with pytest.raises(CallError) as caught:
        call()
    return caught.value


def infer(client: Any, **options: Any) -> Any:
    return client.infer("m", {"x": X}, **options)["y"]


@pytest.mark.parametrize("status", [429, 502, 503])
def test_overload_is_tried_again(kind, status):
    with (
        Scripted([answer(status), answer(status), OK]) as server,
        asked(kind, server.address) as client,
    ):
        assert infer(client) == [1.5]
        assert len(server.requests) == 3


def test_what_would_fail_again_is_not(kind):
    with (
        Scripted([answer(400, b'{"error":"bad"}'), OK]) as server,
        asked(kind, server.address) as client,
    ):
        error = failure(lambda: infer(client))
        assert (error.code, error.message) == ("INVALID_ARGUMENT", "bad")
        assert len(server.requests) == 1


def test_so_often_and_no_more(kind):
    with Scripted([BUSY] * 9) as server, asked(kind, server.address) as client:
        error = failure(lambda: infer(client))
        assert (error.code, error.message) == ("UNAVAILABLE", "busy")
        assert len(server.requests) == QUICK.attempts


def test_a_sequence_is_never_asked_twice(kind):
    with Scripted([BUSY, OK]) as server, asked(kind, server.address) as client:
        assert failure(lambda: infer(client, sequence=RequestSequence(1))).code == "UNAVAILABLE"
        assert len(server.requests) == 1


def test_the_servers_pause_counts(kind):
    with (
        Scripted([answer(503, b"{}", "Retry-After: 1"), OK]) as server,
        asked(kind, server.address) as client,
    ):
        began_s = time.monotonic()
        assert infer(client) == [1.5]
        assert time.monotonic() - began_s >= 1
    with (
        Scripted([answer(503, b"{}", "Retry-After: 9"), OK]) as server,
        asked(kind, server.address) as client,
    ):
        # There is no time for that.
        error = failure(lambda: infer(client, timeout=0.5))
        assert (error.code, error.retry_after_s) == ("UNAVAILABLE", 9)


def test_a_server_that_always_fails_is_asked_less_and_less(kind):
    with Scripted([BUSY] * 99) as server, asked(kind, server.address) as client:
        for _ in range(10):
            failure(lambda: infer(client))
        # Ten tokens: five failures more than the half are tried again.
        assert len(server.requests) < 20


def test_a_connection_that_ended_meanwhile_is_no_failure(kind):
    with (
        Scripted([OK, b"", OK, b"", OK]) as server,
        asked(kind, server.address, retries=Retries(attempts=1)) as client,
    ):
        for _ in range(3):
            assert infer(client) == [1.5]
        assert len(server.requests) == 5


def test_a_first_connection_that_ends_is_one(kind):
    with (
        Scripted([b"", OK]) as server,
        asked(kind, server.address, retries=Retries(attempts=1)) as client,
    ):
        assert failure(lambda: infer(client)).code == "UNAVAILABLE"
    with Scripted([b"", OK]) as server, asked(kind, server.address) as client:
        assert infer(client) == [1.5]


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_listens(kind, scheme):
    with asked(kind, NOBODY.replace("http", scheme)) as client:
        error = failure(client.is_live)
        assert error.code == "UNAVAILABLE"
        assert "is a server running there?" in error.message
        assert not error.is_answer
        late = failure(lambda: client.wait_until_ready(timeout=0.2))
        assert late.code == "DEADLINE_EXCEEDED"
        assert "is a server running there?" in late.message


def test_the_next_server_takes_over(kind, server: Server):
    urls = [NOBODY, f"http://{server.address}"]
    for balance in ("pick_first", "round_robin"):
        with asked(kind, urls, balance=balance) as client:
            for _ in range(5):
                assert client.infer("FP32", {"x": X})["y"].shape == (1,)


def test_each_server_in_turn(kind):
    with Scripted([OK] * 9) as one, Scripted([OK] * 9) as two:
        with asked(kind, [one.address, two.address], balance="round_robin") as client:
            for _ in range(6):
                infer(client)
        assert (len(one.requests), len(two.requests)) == (3, 3)
    with Scripted([OK] * 9) as one, Scripted([OK] * 9) as two:
        with asked(kind, [one.address, two.address]) as client:
            for _ in range(6):
                infer(client)
        assert (len(one.requests), len(two.requests)) == (6, 0)


def test_a_load_is_of_every_server(kind):
    with Scripted([answer(200, b"")]) as one, Scripted([answer(200, b"")]) as two:
        with asked(kind, [one.address, two.address]) as client:
            client.load("m", config={"name": "m"}, files={"1/model.onnx": b"\0"})
        for server in (one, two):
            [request] = server.requests
            assert request.startswith(b"POST /v2/repository/models/m/load ")
            assert b'"file:1/model.onnx": "AA=="' in request


@pytest.mark.parametrize(
    ("said", "code", "why"),
    [
        (b"SSH-2.0\r\n", "INTERNAL", "expected an answer of HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "DEADLINE_EXCEEDED", "timeout"),
        (answer(200, b"<html>"), "INTERNAL", "the server's answer"),
        (answer(200, b'{"outputs":[]'), "INTERNAL", "the server's answer"),
        (answer(404, b"<html>gone</html>"), "NOT_FOUND", "HTTP status 404: <html>gone"),
        (answer(500, b""), "INTERNAL", "HTTP status 500"),
        (answer(302, b""), "INTERNAL", "HTTP status 302"),
    ],
)  # fmt: skip
def test_what_is_no_answer(kind, said, code, why):
    with (
        Scripted([said]) as server,
        asked(kind, server.address, retries=Retries(attempts=1)) as client,
    ):
        error = failure(lambda: infer(client, timeout=0.3))
        assert error.code == code
        assert why in error.message


def test_a_server_that_speaks_no_grpc(kind):
    with (
        Scripted([answer(400)]) as server,
        asked(kind, f"grpc://{server.address}", retries=Retries(attempts=1)) as client,
    ):
        assert failure(lambda: infer(client)).code == "UNAVAILABLE"


def test_tls(kind, scheme, server: Server):
    trust = ssl.create_default_context(cafile=str(HERE / "localhost.pem"))
    with TlsProxy(server.port) as port:
        url = f"{scheme}s://localhost:{port}"
        with asked(kind, url, tls=trust) as client:
            for size in (1, 100_000):
                x = np.ones(size, np.float32)
                assert (client.infer("FP32", {"x": x})["y"] == x).all()
        with asked(kind, url, retries=Retries(attempts=1)) as client:
            error = failure(client.is_live)
            assert error.code == "UNAVAILABLE"
            assert "certificate verify failed" in error.message


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"url": []}, "expected at least one"),
        ({"url": "ftp://a"}, "expected http://host:port"),
        ({"url": "http://a", "timeout": -1}, "timeout"),
        ({"url": "http://a", "balance": "random"}, "expected pick_first or round_robin"),
        ({"url": "http://a", "connections_max": 0}, "connections_max: expected at least 1"),
        ({"url": "http://a", "answer_bytes_max": 0}, "answer_bytes_max: expected at least 1"),
    ],
)  # fmt: skip
def test_options_that_are_none(options, error):
    with pytest.raises((ValueError, Error), match=error):
        Client(**options)
