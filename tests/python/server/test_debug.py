"""/debug: what it shows, and to whom."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from fastserve.config.options import Options
from fastserve.server.debug import refusal, shown_options
from tests.python.server.conftest import PAIR, Running, add_identity, until

LOCAL = [("Host", "127.0.0.1:8000")]


@pytest.mark.parametrize(
    ("headers", "peer"),
    [
        (LOCAL, "127.0.0.1:4711"),
        (LOCAL, "127.8.9.10:4711"),
        ([("Host", "localhost:8000")], "::1:4711"),
        ([("Host", "[::1]:8000")], "[::1]:4711"),
        (LOCAL, "::ffff:127.0.0.1:4711"),
        ([("Host", "x"), *LOCAL][1:], "unix"),
        ([*LOCAL, ("Origin", "http://localhost:3000")], "127.0.0.1:4711"),
    ],
)
def test_a_client_on_this_machine_may_see_it(headers, peer):
    assert refusal("loopback", headers, peer) == ""


# A proxy on this machine makes everybody local, and a browser asks for whatever page it shows.
@pytest.mark.parametrize(
    ("headers", "peer", "why"),
    [
        (LOCAL, "192.0.2.7:4711", "for clients on this machine"),
        (LOCAL, "2001:db8::1:4711", "for clients on this machine"),
        (LOCAL, "", "for clients on this machine"),
        ([*LOCAL, ("X-Forwarded-For", "192.0.2.7")], "127.0.0.1:1", "header x-forwarded-for"),
        ([*LOCAL, ("Forwarded", "for=192.0.2.7")], "127.0.0.1:1", "header forwarded"),
        ([*LOCAL, ("Via", "1.1 proxy")], "unix", "header via"),
        ([("Host", "models.example.com")], "127.0.0.1:1", "found Host: models.example.com"),
        ([("Host", "127.0.0.1.example.com")], "127.0.0.1:1", "found Host: 127.0.0.1.example.com"),
        ([*LOCAL, ("Origin", "https://example.com")], "127.0.0.1:1", "found Origin: https"),
        ([*LOCAL, ("Origin", "null")], "127.0.0.1:1", "found Origin: null"),
        ([("Host", "[bad")], "127.0.0.1:1", "found Host: [bad"),
    ],
)
def test_everybody_else_is_turned_away_with_the_reason(headers, peer, why):
    assert why in refusal("loopback", headers, peer)


def test_it_can_be_opened_and_turned_off():
    assert refusal("on", [("Via", "1.1 proxy")], "192.0.2.7:1") == ""
    assert "turned off" in refusal("off", LOCAL, "127.0.0.1:1")


def test_the_options_in_effect_are_shown():
    shown = shown_options(Options(loops=3))
    assert shown["loops"] == 3
    assert shown["drain_timeout_ns"] == 30 * 10**9


def test_it_shows_what_is_in_flight_and_where_it_stands(start, repository):
    add_identity(repository, "slow", delay_us=1_500_000)
    server: Running = start(repository, "--max-connections", "77").await_ready()
    asker = threading.Thread(target=lambda: server.infer("slow", PAIR))
    asker.start()

    def in_flight() -> list[dict[str, Any]]:
        shown = server.get("/debug").json["loops"][0]["in_flight"]
        return [request for request in shown if request["model"] == "slow"]

    (request,) = until(in_flight, "the request to arrive")
    assert request["peer"].startswith("127.0.0.1:")
    assert request["age_ns"] > 0
    assert request["body_bytes"] > 0
    shown = server.get("/debug").json
    assert shown["options"]["connections_max"] == 77
    assert shown["pid"] == server.process.pid
    (model,) = shown["models"]
    assert model["name"] == "slow"
    assert model["versions"][0]["state"] == "READY"
    assert {"queue_depth", "load", "instances"} <= model["versions"][0].keys()
    assert {"slab_bytes", "in_flight_bytes"} <= shown["loops"][0]["memory"].keys()
    asker.join()
    assert server.end() == 0


def test_every_loop_is_shown(start, repository):
    add_identity(repository, "plain")
    server: Running = start(repository, "--loops", "2", "--loop-kind", "process").await_ready()
    loops = server.get("/debug").json["loops"]
    assert [(loop["loop"], loop["state"]) for loop in loops] == [(0, "serving"), (1, "serving")]
    assert len({loop["pid"] for loop in loops}) == 2
    assert sum(loop["connections"] for loop in loops) == 1
    assert server.end() == 0


def test_a_proxy_on_this_machine_sees_nothing(start, repository):
    add_identity(repository, "plain")
    server: Running = start(repository).await_ready()
    reply = server.request("GET", "/debug", headers={"X-Forwarded-For": "192.0.2.7"})
    assert reply.status == 403
    assert "not for forwarded requests" in reply.json["error"]
    reply = server.request("GET", "/debug", headers={"Host": "models.example.com"})
    assert reply.status == 403
    assert server.request("POST", "/debug").status == 405
    assert server.end() == 0


def test_it_is_there_on_the_unix_socket_and_can_be_turned_off(start, repository, tmp_path):
    add_identity(repository, "plain")
    path = tmp_path / "s"
    server: Running = start(repository, "--unix-socket", path).await_ready()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(b"GET /debug HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert server.end() == 0
    server = start(repository, "--debug-endpoint", "off").await_ready()
    assert server.get("/debug").status == 403
    assert server.end() == 0
