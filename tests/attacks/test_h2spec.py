"""Rules of RFC 9113 and RFC 7541 for a server, one row each: what is sent, and what must be seen.

A row says the frames after the preface, and the error that must come. Where the RFC asks for an
error of the stream, an error of the connection with the same code is allowed as well: 5.4.2.

Not here: a stream that depends on itself (RFC 7540, 5.3.1), since RFC 9113 dropped priorities.
"""

import struct
from dataclasses import dataclass

import pytest

from tests.attacks.test_http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    GET,
    GOAWAY,
    GRPC,
    HEADERS,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH,
    RESET,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW,
    Http2,
    frame,
    literal,
    others_are_served,
)  # fmt: skip

FRAME_SIZE_ERROR, COMPRESSION_ERROR = 6, 9
ACK, PADDED, HAS_PRIORITY = 1, 8, 32
WHOLE = END_HEADERS | END_STREAM
ARE_YOU = frame(PING, 0, 0, b"are you?")


@dataclass(frozen=True)
class Rule:
    section: str
    name: str
    frames: bytes
    codes: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.section}-{self.name}"


def setting(key: int, value: int) -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack(">HI", key, value))


def head(fields: bytes, flags: int = WHOLE) -> bytes:
    return frame(HEADERS, flags, 1, fields)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


OPEN = head(GRPC, END_HEADERS)  # A call whose message is yet to come.
DONE = head(GET)

CONNECTION = [
    Rule("4.2", "data-frame-too-large", OPEN + frame(DATA, 0, 1, b"x" * 16385),
         (FRAME_SIZE_ERROR,)),
    Rule("4.2", "headers-frame-too-large", head(GET + b"x" * 16385), (FRAME_SIZE_ERROR,)),
    Rule("4.3", "invalid-block", head(b"\x80"), (COMPRESSION_ERROR,)),
    Rule("4.3", "priority-within-a-block",
         head(GET, END_STREAM) + frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"), (PROTOCOL_ERROR,)),
    Rule("4.3", "headers-of-another-stream-within-a-block",
         head(GET, END_STREAM) + frame(HEADERS, WHOLE, 3, GET), (PROTOCOL_ERROR,)),
    Rule("5.1", "idle-data", frame(DATA, END_STREAM, 1, b"x"), (PROTOCOL_ERROR,)),
    Rule("5.1", "idle-reset", frame(RESET, 0, 1, u32(8)), (PROTOCOL_ERROR,)),
    Rule("5.1", "idle-window-update", frame(WINDOW, 0, 1, u32(100)), (PROTOCOL_ERROR,)),
    Rule("5.1", "idle-continuation", frame(CONTINUATION, 4, 1, GET), (PROTOCOL_ERROR,)),
    Rule("5.1", "half-closed-continuation",
         OPEN + frame(DATA, 1, 1) + frame(CONTINUATION, 4, 1, GET), (PROTOCOL_ERROR,)),
    Rule("5.1.1", "even-stream", frame(HEADERS, WHOLE, 2, GET), (PROTOCOL_ERROR,)),
    Rule("6.1", "data-of-stream-0", frame(DATA, 0, 0, b"x"), (PROTOCOL_ERROR,)),
    Rule("6.1", "data-padding-too-long", OPEN + frame(DATA, PADDED, 1, b"\x09xx"),
         (PROTOCOL_ERROR,)),
    Rule("6.2", "headers-of-stream-0", frame(HEADERS, WHOLE, 0, GET), (PROTOCOL_ERROR,)),
    Rule("6.2", "headers-padding-too-long", head(b"\xff" + GET, WHOLE | PADDED),
         (PROTOCOL_ERROR,)),
    Rule("6.3", "priority-of-stream-0", frame(PRIORITY, 0, 0, b"\0\0\0\1\x10"),
         (PROTOCOL_ERROR,)),
    Rule("6.4", "reset-of-stream-0", frame(RESET, 0, 0, u32(8)), (PROTOCOL_ERROR,)),
    Rule("6.4", "reset-of-the-wrong-size", OPEN + frame(RESET, 0, 1, b"\0\0\0"),
         (FRAME_SIZE_ERROR,)),
    Rule("6.5", "settings-ack-with-payload", frame(SETTINGS, ACK, 0, b"\0"), (FRAME_SIZE_ERROR,)),
    Rule("6.5", "settings-of-a-stream", frame(SETTINGS, 0, 1, struct.pack(">HI", 3, 100)),
         (PROTOCOL_ERROR,)),
    Rule("6.5", "settings-of-the-wrong-size", frame(SETTINGS, 0, 0, b"\0\3\0"),
         (FRAME_SIZE_ERROR,)),
    Rule("6.5.2", "enable-push-of-2", setting(2, 2), (PROTOCOL_ERROR,)),
    Rule("6.5.2", "window-too-large", setting(4, 0x80000000), (FLOW_CONTROL_ERROR,)),
    Rule("6.5.2", "frame-size-too-small", setting(5, 16383), (PROTOCOL_ERROR,)),
    Rule("6.5.2", "frame-size-too-large", setting(5, 1 << 24), (PROTOCOL_ERROR,)),
    Rule("6.7", "ping-of-a-stream", frame(PING, 0, 1, b"12345678"), (PROTOCOL_ERROR,)),
    Rule("6.7", "ping-of-the-wrong-size", frame(PING, 0, 0, b"123456"), (FRAME_SIZE_ERROR,)),
    Rule("6.8", "goaway-of-a-stream", frame(GOAWAY, 0, 1, bytes(8)), (PROTOCOL_ERROR,)),
    Rule("6.9", "window-update-of-0", frame(WINDOW, 0, 0, u32(0)), (PROTOCOL_ERROR,)),
    Rule("6.9", "window-update-of-the-wrong-size", frame(WINDOW, 0, 0, b"\0\0\1"),
         (FRAME_SIZE_ERROR,)),
    Rule("6.9.1", "connection-window-overflow", frame(WINDOW, 0, 0, u32(0x7FFFFFFF)) * 2,
         (FLOW_CONTROL_ERROR,)),
    Rule("6.10", "continuation-after-the-end", OPEN + frame(CONTINUATION, 4, 1, GET),
         (PROTOCOL_ERROR,)),
    Rule("6.10", "continuation-of-stream-0", head(GET, END_STREAM) + frame(CONTINUATION, 4, 0, b""),
         (PROTOCOL_ERROR,)),
    Rule("6.10", "data-within-a-block", head(GET, 0) + frame(DATA, 1, 1, b"x"), (PROTOCOL_ERROR,)),
    Rule("8.4", "push-from-a-client", frame(PUSH, 4, 1, b"\0\0\0\2" + GET), (PROTOCOL_ERROR,)),
    Rule("7541-2.3.3", "index-beyond-the-tables", head(GET + b"\xc6"), (COMPRESSION_ERROR,)),
    Rule("7541-4.2", "table-size-update-at-the-end", head(GET + b"\x20"), (COMPRESSION_ERROR,)),
    Rule("7541-5.2", "padding-of-more-than-7-bits", head(GET + b"\x00\x01x\x82\x1f\xff"),
         (COMPRESSION_ERROR,)),
    Rule("7541-5.2", "padding-of-zeros", head(GET + b"\x00\x01x\x81\x00"), (COMPRESSION_ERROR,)),
    Rule("7541-5.2", "eos-in-a-string", head(GET + b"\x00\x01x\x84\xff\xff\xff\xff"),
         (COMPRESSION_ERROR,)),
    Rule("7541-6.1", "index-0", head(GET + b"\x80"), (COMPRESSION_ERROR,)),
    Rule("7541-6.3", "table-size-too-large", head(b"\x3f\xe1\xff\x07" + GET),
         (COMPRESSION_ERROR,)),
]  # fmt: skip

# Of heads that are malformed (8.1.1), and of frames whose error ends a stream alone.
STREAM = [
    Rule("5.1", "half-closed-data", OPEN + frame(DATA, 1, 1) + frame(DATA, 1, 1, b"x"),
         (STREAM_CLOSED,)),
    Rule("5.1", "half-closed-headers", OPEN + frame(DATA, 1, 1) + head(literal(b"x", b"y")),
         (STREAM_CLOSED,)),
    Rule("6.3", "priority-of-the-wrong-size", OPEN + frame(PRIORITY, 0, 1, b"\0\0\0\0"),
         (FRAME_SIZE_ERROR,)),
    Rule("6.9", "window-update-of-0-for-a-stream", OPEN + frame(WINDOW, 0, 1, u32(0)),
         (PROTOCOL_ERROR,)),
    Rule("6.9.1", "stream-window-overflow", OPEN + frame(WINDOW, 0, 1, u32(0x7FFFFFFF)),
         (FLOW_CONTROL_ERROR,)),
    Rule("8.1", "second-head-without-end", OPEN + head(literal(b"x", b"y"), END_HEADERS),
         (PROTOCOL_ERROR,)),
    Rule("8.2.1", "upper-case-name", head(GET + literal(b"X-Test", b"y")), (PROTOCOL_ERROR,)),
    Rule("8.2.2", "connection-field", head(GET + literal(b"connection", b"close")),
         (PROTOCOL_ERROR,)),
    Rule("8.2.2", "te-that-is-not-trailers", head(GET + literal(b"te", b"gzip")),
         (PROTOCOL_ERROR,)),
    Rule("8.3", "unknown-pseudo-field", head(GET + literal(b":test", b"y")), (PROTOCOL_ERROR,)),
    Rule("8.3", "response-pseudo-field", head(GET + literal(b":status", b"200")),
         (PROTOCOL_ERROR,)),
    Rule("8.3", "pseudo-field-in-trailers", OPEN + head(literal(b":path", b"/")),
         (PROTOCOL_ERROR,)),
    Rule("8.3", "pseudo-field-after-a-field",
         head(b"\x82\x86" + literal(b"x", b"y") + b"\x84\x41\x01a"), (PROTOCOL_ERROR,)),
    Rule("8.3.1", "empty-path", head(b"\x82\x86\x04\x00\x41\x01a"), (PROTOCOL_ERROR,)),
    Rule("8.3.1", "no-method", head(b"\x86\x84\x41\x01a"), (PROTOCOL_ERROR,)),
    Rule("8.3.1", "no-scheme", head(b"\x82\x84\x41\x01a"), (PROTOCOL_ERROR,)),
    Rule("8.3.1", "no-path", head(b"\x82\x86\x41\x01a"), (PROTOCOL_ERROR,)),
    Rule("8.3.1", "two-methods", head(b"\x82" + GET), (PROTOCOL_ERROR,)),
    Rule("8.3.1", "two-schemes", head(b"\x86" + GET), (PROTOCOL_ERROR,)),
    Rule("8.3.1", "two-paths", head(b"\x84" + GET), (PROTOCOL_ERROR,)),
    Rule("8.1.1", "content-length-that-differs",
         head(b"\x83\x86\x84\x41\x01a" + literal(b"content-length", b"1"), END_HEADERS)
         + frame(DATA, 1, 1, b"test"), (PROTOCOL_ERROR,)),
    Rule("8.1.1", "content-length-that-differs-from-two-frames",
         head(b"\x83\x86\x84\x41\x01a" + literal(b"content-length", b"1"), END_HEADERS)
         + frame(DATA, 0, 1, b"te") + frame(DATA, 1, 1, b"st"), (PROTOCOL_ERROR,)),
    Rule("8.1.1", "content-length-of-no-data",
         head(b"\x83\x86\x84\x41\x01a" + literal(b"content-length", b"1")), (PROTOCOL_ERROR,)),
]  # fmt: skip

# What is to be ignored or answered: the ping behind it is answered, and so is the request.
GOOD = {
    "3.4-settings-first": DONE,
    "4.1-unknown-type": frame(0x16, 0, 0, bytes(8)) + DONE,
    "4.1-unknown-flags": frame(PING, 0x16, 0, bytes(8)) + DONE,
    "4.1-reserved-bit": frame(PING, 0, 0x80000000, bytes(8)) + DONE,
    "5.1-priority-of-an-idle-stream": frame(PRIORITY, 0, 3, b"\0\0\0\0\x10") + DONE,
    "5.5-unknown-extension": frame(0xFF, 0, 0, b"x") + DONE,
    "6.2-padded": head(b"\x03" + GET + bytes(3), WHOLE | PADDED),
    "6.2-with-priority": head(b"\0\0\0\0\x10" + GET, WHOLE | HAS_PRIORITY),
    "6.5.2-unknown-setting": setting(0xFF, 1) + DONE,
    "6.7-ack-nobody-asked-for": frame(PING, ACK, 0, bytes(8)) + DONE,
    "6.10-continuations": head(GET[:2], END_STREAM) + frame(CONTINUATION, 0, 1, GET[2:3])
    + frame(CONTINUATION, END_HEADERS, 1, GET[3:]),
    "7541-4.2-table-size-update": head(b"\x20" + GET),
    "7541-6.2.1-kept": head(GET + b"\x40\x01x\x01y\xbe"),
    "7541-6.2.3-never-kept": head(GET + b"\x10\x01x\x01y"),
    "7541-5.2-huffman": head(b"\x82\x86\x84\x41\x81\x1f"),
}  # fmt: skip


def code_of(payload: bytes, kind: int) -> int:
    return int.from_bytes(payload[4:8] if kind == GOAWAY else payload[:4], "big")


@pytest.mark.parametrize("rule", CONNECTION, ids=str)
def test_an_error_of_the_connection_ends_it(server, rule):
    with Http2(server) as http2:
        http2.send(rule.frames)
        frames = http2.frames_until(GOAWAY)
    codes = [code_of(payload, kind) for kind, _, _, payload in frames if kind == GOAWAY]
    assert codes[-1] in rule.codes
    others_are_served(server)


@pytest.mark.parametrize("rule", STREAM, ids=str)
def test_an_error_of_a_stream_ends_it(server, rule):
    with Http2(server) as http2:
        http2.send(rule.frames)
        frames = http2.frames_until(GOAWAY, RESET)
    codes = [code_of(payload, kind) for kind, _, _, payload in frames if kind in (GOAWAY, RESET)]
    assert codes[0] in rule.codes
    others_are_served(server)


@pytest.mark.parametrize("frames", GOOD.values(), ids=GOOD.keys())
def test_what_is_good_is_answered(server, frames):
    with Http2(server) as http2:
        http2.send(frames)
        seen = http2.frames_until(HEADERS, GOAWAY)
        assert any(kind == HEADERS and stream == 1 for kind, _, stream, _ in seen), seen
        http2.send(ARE_YOU)
        more = http2.frames_until(PING, GOAWAY)
    assert not any(kind == GOAWAY for kind, *_ in more)


def test_data_keeps_to_the_window(server):
    """6.9.1 and 6.9.2: a byte at a time, none below zero, and more as it is allowed."""
    with Http2(server) as http2:
        http2.send(setting(4, 1) + DONE)
        seen = http2.frames_until(DATA)
        assert [len(payload) for kind, _, _, payload in seen if kind == DATA] == [1]
        # One byte was sent: a window of none makes it -1, so two more are needed for one.
        http2.send(setting(4, 0) + frame(WINDOW, 0, 1, u32(1)) + ARE_YOU)
        assert not any(kind == DATA for kind, *_ in http2.frames_until(PING))
        http2.send(frame(WINDOW, 0, 1, u32(1)))
        seen = http2.frames_until(DATA)
        assert [len(payload) for kind, _, _, payload in seen if kind == DATA] == [1]
    others_are_served(server)


def test_a_stream_number_that_goes_back_is_not_served(server):
    """A known deviation: 5.1.1 asks for an end of the connection, nghttp2 ignores such a head."""
    with Http2(server) as http2:
        http2.send(frame(HEADERS, WHOLE, 5, GET) + frame(HEADERS, WHOLE, 3, GET))
        seen = http2.frames_until(HEADERS, GOAWAY)
        http2.send(frame(HEADERS, WHOLE, 7, GET))
        seen += http2.frames_until(HEADERS, GOAWAY)
    assert not any(kind == GOAWAY for kind, *_ in seen)
    assert [stream for kind, _, stream, _ in seen if kind == HEADERS] == [5, 7]
    others_are_served(server)
