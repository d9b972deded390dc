"""HTTP/2 frames by hand: each attack on a running server is bounded, and nobody else suffers."""

import contextlib
import struct

import pytest

from tests.attacks.raw_http import Wire
from tests.served import Server

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, CALM = 1, 2, 3, 5, 11
GRPC_PATH = b"/inference.GRPCInferenceService/ModelInfer"


def literal(name: bytes, value: bytes) -> bytes:
    assert len(name) < 127
    assert len(value) < 127
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


GET = b"\x82\x86\x84" + b"\x41\x01a"
GRPC = (
    b"\x83\x86\x41\x01a" + b"\x44" + bytes([len(GRPC_PATH)]) + GRPC_PATH
    + literal(b"content-type", b"application/grpc") + literal(b"te", b"trailers")
)  # fmt: skip


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream
    ) + payload  # fmt: skip


HELLO = PREFACE + frame(SETTINGS, 0, 0)


class Http2:
    """A connection that has said hello."""

    def __init__(self, server: Server) -> None:
        self.wire = Wire(server.port)
        self.wire.send(HELLO)

    def __enter__(self) -> "Http2":
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.__exit__(None, None, None)

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # It may be closed already.
            self.wire.send(data)

    def frames_until(self, *kinds: int) -> list[tuple[int, int, int, bytes]]:
        """All that comes, up to one of these kinds."""
        data = b""
        while not any(found in kinds for found, *_ in split(data)):
            more = self.wire.read_some()
            assert more, "the server closed"
            data += more
        return split(data)

    def frames_to_the_end(self) -> list[tuple[int, int, int, bytes]]:
        """All that comes until the server closes."""
        return list(split(self.wire.read_to_end()))


def split(data: bytes) -> list[tuple[int, int, int, bytes]]:
    frames = []
    while len(data) >= 9:
        size = int.from_bytes(data[:3], "big")
        kind, flags = data[3], data[4]
        stream = int.from_bytes(data[5:9], "big")
        frames.append((kind, flags, stream, data[9 : 9 + size]))
        data = data[9 + size :]
    return frames


def goaway_of(frames: list[tuple[int, int, int, bytes]]) -> int:
    """The error that the server gave for the end of the connection."""
    errors = [
        int.from_bytes(payload[4:8], "big") for kind, _, _, payload in frames if kind == GOAWAY
    ]
    assert errors, frames
    return errors[-1]


def others_are_served(server: Server) -> None:
    assert server.request("GET", "/v2/health/live").status == 200


FLOODS = {
    "pings": frame(PING, 0, 0, b"12345678") * 3000,
    "settings": frame(SETTINGS, 0, 0) * 3000,
    "priorities": frame(PRIORITY, 0, 3, b"\0\0\0\0\x10") * 3000,
    "empty-data": frame(HEADERS, END_HEADERS, 1, GRPC) + frame(DATA, 0, 1) * 3000,
    "rapid-reset": b"".join(
        frame(HEADERS, END_HEADERS, stream, GRPC) + frame(RESET, 0, stream, struct.pack(">I", 8))
        for stream in range(1, 6001, 2)
    ),
    # The server resets these: a window that overflows is the client's error each time.
    "made-you-reset": b"".join(
        frame(HEADERS, END_HEADERS, stream, GRPC)
        + frame(WINDOW, 0, stream, struct.pack(">I", 0x7FFFFFFF))
        for stream in range(1, 6001, 2)
    ),
    "continuations": frame(HEADERS, 0, 1, GET) + frame(CONTINUATION, 0, 1) * 3000,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_ends_its_connection_and_no_other(server, flood):
    before = server.metrics()
    with Http2(server) as http2:
        http2.send(flood)
        frames = http2.frames_to_the_end()
    # Some are so rude that nghttp2 says nothing more.
    if any(kind == GOAWAY for kind, *_ in frames):
        assert goaway_of(frames) in (CALM, INTERNAL_ERROR, PROTOCOL_ERROR)
    others_are_served(server)
    closes = "fastserve_connection_closes_total"
    assert server.metrics().sum(closes) > before.sum(closes)


BROKEN = {
    "data-of-no-stream": (frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
    "headers-of-an-even-stream": (frame(HEADERS, 5, 2, GET), PROTOCOL_ERROR),
    "a-push": (frame(PUSH, 4, 1, b"\0\0\0\2" + GET), PROTOCOL_ERROR),
    "window-of-nothing": (frame(WINDOW, 0, 0, b"\0\0\0\0"), PROTOCOL_ERROR),
    "window-overflow": (
        frame(WINDOW, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 2, FLOW_CONTROL_ERROR,
    ),
    "frame-of-the-wrong-size": (frame(PING, 0, 0, b"1234"), 6),
    "frame-that-is-too-large": (b"\xff\xff\xff" + bytes([DATA, 0]) + b"\0\0\0\1", 6),
    "broken-hpack": (frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff"), 9),
    "interrupted-head": (frame(HEADERS, 1, 1, GET) + frame(PING, 0, 0, b"12345678"),
                         PROTOCOL_ERROR),
    "more-data-than-the-window": (
        frame(HEADERS, 4, 1, GRPC) + b"".join(
            frame(DATA, 0, 1, b"\0\0\xff\xff\xff" + b"x" * 16000 if n == 0 else b"x" * 16384)
            for n in range(2000)
        ), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "error"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_ends_the_connection_with_a_reason(server, data, error):
    with Http2(server) as http2:
        http2.send(data)
        if error is not None:
            assert goaway_of(http2.frames_to_the_end()) == error
    others_are_served(server)


def test_data_after_the_end_of_a_stream_does_not_pass(server):
    with Http2(server) as http2:
        http2.send(frame(HEADERS, 5, 1, GET) + frame(DATA, 1, 1, b"late"))
        assert goaway_of(http2.frames_to_the_end()) == STREAM_CLOSED
    others_are_served(server)


def test_a_header_bomb_is_refused(server):
    """Each of these few bytes stands for a field of 4 KB that was said once."""
    value = b"x" * 4000
    size = b"\x7f" + bytes([(len(value) - 127) & 0x7F | 0x80, (len(value) - 127) >> 7])
    once = b"\x40\x01b" + size + value
    with Http2(server) as http2:
        http2.send(frame(HEADERS, 5, 1, GET + once + b"\xbe" * 3000))
        http2.send(frame(PING, 0, 0, b"are you?"))
        frames = http2.frames_until(PING, GOAWAY)
    # The head alone is refused, or nghttp2 ends the connection; it is never answered as it is.
    if not any(kind == GOAWAY for kind, *_ in frames):
        assert any(kind == HEADERS and b"431" in payload for kind, _, _, payload in frames)
    others_are_served(server)


def test_streams_that_are_left_open_are_bounded(server):
    with Http2(server) as http2:
        http2.send(b"".join(frame(HEADERS, END_HEADERS, s, GRPC) for s in range(1, 1001, 2)))
        http2.send(frame(PING, 0, 0, b"are you?"))
        frames = http2.frames_until(PING)
        others_are_served(server)
    refused = [payload for kind, _, _, payload in frames if kind == RESET]
    assert len(refused) == 500 - 256
    assert set(refused) == {struct.pack(">I", 7)}  # REFUSED_STREAM: it may be tried again.


def test_a_client_that_shuts_its_windows_gets_no_data(server):
    """Nobody waits for it: others are served, and what it opened was answered as far as may be."""
    with Http2(server) as http2:
        http2.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
        streams = range(1, 101, 2)
        for stream in streams:
            http2.send(frame(HEADERS, 5, stream, GET))
        others_are_served(server)
        http2.send(frame(PING, 0, 0, b"are you?"))
        frames = http2.frames_until(PING)
    assert not any(kind == DATA for kind, *_ in frames)
