"""Other people's readers, asked for the same: h11, which is strict, and llhttp, which node has.

Both say more than a sequence of requests (they stop for an upgrade, and h11 ends a connection of
HTTP/1.0); what is not framing is smoothed here, so that what is left to differ is framing.
"""

from __future__ import annotations

import h11
import httptools

from tests.attacks.readers.reading import Reading, Request, field

# RFC 9112, 2.2: a server should ignore at least one empty line before a request. The gateway
# ignores four, llhttp any number, h11 none.
EMPTY_LINES_MAX = 4
LIMIT_BYTES = 1 << 24


def read_h11(data: bytes) -> Reading:
    """What h11 makes of the bytes."""
    requests: list[Request] = []
    rest = data
    # Each time with a new connection: h11 keeps none of HTTP/1.0 open.
    while rest := _without_empty_lines(rest):
        try:
            rest, stays = _read_h11_request(rest, requests)
        except h11.RemoteProtocolError as wrong:
            return Reading(tuple(requests), str(wrong))
        if not stays:
            return Reading(tuple(requests), closed=True)
    return Reading(tuple(requests))


def _read_h11_request(data: bytes, requests: list[Request]) -> tuple[bytes, bool]:
    """Adds the first request; what is left behind it (nothing if it needs more), and "go on"."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT_BYTES)
    connection.receive_data(data)
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event in (h11.NEED_DATA, h11.PAUSED):
            return b"", True
        if isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            break
    assert head is not None
    fields = tuple((bytes(name).lower(), bytes(value)) for name, value in head.headers)
    request = Request(bytes(head.method), bytes(head.target), fields, body)
    requests.append(request)
    return bytes(connection.trailing_data[0]), stays_open(request, bytes(head.http_version))


class _Callbacks:
    """What llhttp reports, as requests."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.parser = httptools.HttpRequestParser(self)
        self.on_message_begin()

    def on_message_begin(self) -> None:
        self.target, self.body = b"", b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.in_head = True

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # Else it is a trailer.
            self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.in_head = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        method = self.parser.get_method()
        self.requests.append(Request(method, self.target, tuple(self.fields), self.body))


def read_llhttp(data: bytes) -> Reading:
    """What llhttp makes of the bytes."""
    requests: list[Request] = []
    rest = data
    while True:  # Each time with a new parser: it stops behind a request that asks to upgrade.
        callbacks = _Callbacks()
        try:
            callbacks.parser.feed_data(rest)
        except httptools.HttpParserUpgrade as upgrade:
            rest = rest[upgrade.args[0] :]
            requests += callbacks.requests
            if not stays_open(requests[-1], callbacks.parser.get_http_version().encode()):
                return Reading(tuple(requests), closed=True)
            continue
        except httptools.HttpParserError as wrong:
            requests += callbacks.requests
            ended = "after `Connection: close`" in str(wrong)
            return Reading(tuple(requests), "" if ended else str(wrong), closed=ended)
        return Reading((*requests, *callbacks.requests))


def stays_open(request: Request, version: bytes) -> bool:
    """Whether the connection goes on behind a request, as RFC 9112, 9.3 says."""
    values = [value.lower() for name, value in request.fields if name == b"connection"]
    options = {option.strip(b" \t") for value in values for option in value.split(b",")}
    if b"close" in options:
        return False
    return version >= b"1.1" or b"keep-alive" in options


def is_chunked(request: Request) -> bool:
    return field(request, b"transfer-encoding") == b"chunked"


def _without_empty_lines(data: bytes) -> bytes:
    for _ in range(EMPTY_LINES_MAX):
        data = data.removeprefix(b"\r\n")
    return data
