"""/debug: what it shows, and to whom."""

from __future__ import annotations

import pytest

from fastserve.config.options import Options
from fastserve.server.debug import refusal, shown_options

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
        (LOCAL, None, "for clients on this machine"),
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
