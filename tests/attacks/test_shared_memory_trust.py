"""Clients of elsewhere, and of other users, who would share memory."""

import http.client
import json
import multiprocessing
import os
import socket
from typing import Any

import pytest

from tests.attacks.raw_http import Wire, head
from tests.attacks.shared_memory import Memory, asked, infer, where
from tests.served import HOST, Repository, Server

pytestmark = pytest.mark.usefixtures("no_region_is_left")
LOCAL = f"Host: {HOST}"


@pytest.mark.parametrize(
    "lines",
    [
        (LOCAL, "X-Forwarded-For: 192.0.2.1"),
        (LOCAL, "Forwarded: for=192.0.2.1"),
        (LOCAL, "X-Real-IP: 192.0.2.1"),
        (LOCAL, "Via: 1.1 proxy"),
        (LOCAL, "Origin: http://localhost:3000"),
        (LOCAL, "Sec-Fetch-Site: cross-site"),
        ("Host: example.org",),
        ("Host: example.org:80",),
        ("Host: 127.0.0.1.example.org",),
        ("Host: localhost.example.org",),
        ("Host: 192.0.2.1",),
    ],
)
def test_who_came_through_another_may_share_nothing(shared, memory, lines):
    body = asked(where("r", 16))
    length = f"Content-Length: {len(body)}"
    with Wire(shared.port) as wire:
        wire.send(head("POST /v2/models/floats/infer HTTP/1.1", *lines, length) + body)
        assert wire.read().status == 403
    body = json.dumps({"key": memory.key, "offset": 0, "byte_size": 16}).encode()
    length = f"Content-Length: {len(body)}"
    for word in ("register", "unregister"):
        path = f"/v2/systemsharedmemory/region/{word}/{word}"
        with Wire(shared.port) as wire:
            wire.send(head(f"POST {path} HTTP/1.1", *lines, length) + body)
            assert wire.read().status == 403
    with Wire(shared.port) as wire:
        wire.send(head("GET /v2/systemsharedmemory/status HTTP/1.1", *lines))
        assert wire.read().status == 403
    assert infer(shared, asked(where("r", 16))).status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:8000", "[::1]", "[::1]:80"])
def test_this_machine_has_several_names(shared, memory, host):
    body = asked(where("r", 16))
    lines = (f"Host: {host}", f"Content-Length: {len(body)}")
    with Wire(shared.port) as wire:
        wire.send(head("POST /v2/models/floats/infer HTTP/1.1", *lines) + body)
        assert wire.read().status == 200


def test_an_older_protocol_is_a_proxys(shared, memory):
    body = asked(where("r", 16))
    lines = (LOCAL, f"Content-Length: {len(body)}")
    with Wire(shared.port) as wire:
        wire.send(head("POST /v2/models/floats/infer HTTP/1.0", *lines) + body)
        assert wire.read().status == 403


def test_a_unix_socket_is_of_this_machine(tmp_path):
    models = Repository(tmp_path / "models")
    models.add_identity("floats", more="max_batch_size: 8")
    path = tmp_path / "socket"
    with Server(models.path, "--unix-socket", str(path)) as server, Memory(4096) as memory:
        body = json.dumps({"key": memory.key, "offset": 0, "byte_size": 4096}).encode()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            lines = ("Host: anything", f"Content-Length: {len(body)}")
            client.sendall(head("POST /v2/systemsharedmemory/region/u/register HTTP/1.1", *lines))
            client.sendall(body)
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert infer(server, asked(where("u", 16))).status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_client_shares_what_it_may_read_and_write_itself(shared):
    """The server may open more than its client: it must not read that for it."""
    with Memory(4096) as memory:  # Root's, for root alone.

        def ask_as_nobody(port: int, key: str, answers: Any) -> None:
            os.setuid(65534)
            connection = http.client.HTTPConnection(HOST, port)
            for path in ("first", "second"):
                body = json.dumps({"key": key, "offset": 0, "byte_size": 4096})
                connection.request("POST", f"/v2/systemsharedmemory/region/{path}/register", body)
                response = connection.getresponse()
                response.read()
                answers.put(response.status)
                if path == "first":
                    go_on.wait(10)

        context = multiprocessing.get_context("fork")
        answers, go_on = context.Queue(), context.Event()
        process = context.Process(
            target=ask_as_nobody, args=(shared.port, memory.key, answers), daemon=True
        )
        process.start()
        assert answers.get(timeout=10) == 403
        memory.path.chmod(0o666)
        go_on.set()
        assert answers.get(timeout=10) == 200
        process.join()
