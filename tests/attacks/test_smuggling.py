"""Heads and bodies that two readers could read differently: one refusal, then the end.

Behind each of them in the same packet stands a second request. A server that misjudges where the
first one ends answers it, or a part of it.
"""

import pytest

from tests.attacks.conftest import ECHO_BODY
from tests.attacks.raw_http import LIVE, Wire, chunked, head, post

POST = "POST /v2/models/identity_int32/infer HTTP/1.1"
SIZE = len(ECHO_BODY)
CHUNKED = chunked(ECHO_BODY)
TE = "Transfer-Encoding: "
CL = "Content-Length: "
BAD = (400,)
UNKNOWN_CODING = (400, 501)
BAD_VERSION = (400, 505)
TOO_LARGE = (400, 413)


def request(*lines: str, body: bytes = ECHO_BODY) -> bytes:
    return head(POST, "Host: x", *lines) + body


REFUSED = {
    # Where the body ends.
    "te-identity": (request(f"{TE}identity", f"{CL}{SIZE}"), UNKNOWN_CODING),
    "te-identity-alone": (request(f"{TE}identity"), UNKNOWN_CODING),
    "te-chunked-identity": (request(f"{TE}chunked, identity", body=CHUNKED), UNKNOWN_CODING),
    "te-identity-chunked": (request(f"{TE}identity, chunked", body=CHUNKED), UNKNOWN_CODING),
    "te-gzip-chunked": (request(f"{TE}gzip, chunked", body=CHUNKED), UNKNOWN_CODING),
    "te-chunked-twice": (request(f"{TE}chunked, chunked", body=CHUNKED), UNKNOWN_CODING),
    "te-two-headers": (request(f"{TE}chunked", f"{TE}chunked", body=CHUNKED), UNKNOWN_CODING),
    "te-two-different": (request(f"{TE}chunked", f"{TE}x", body=CHUNKED), UNKNOWN_CODING),
    "te-xchunked": (request(f"{TE}xchunked", body=CHUNKED), UNKNOWN_CODING),
    "te-quoted": (request(f'{TE}"chunked"', body=CHUNKED), UNKNOWN_CODING),
    "te-parameter": (request(f"{TE}chunked;a=b", body=CHUNKED), UNKNOWN_CODING),
    "te-empty": (request(TE, body=CHUNKED), UNKNOWN_CODING),
    "te-vertical-tab": (request(f"{TE}\x0bchunked", body=CHUNKED), UNKNOWN_CODING),
    "te-and-cl": (request(f"{TE}chunked", f"{CL}{len(CHUNKED)}", body=CHUNKED), BAD),
    "cl-and-te": (request(f"{CL}5", f"{TE}chunked", body=CHUNKED), BAD),
    "te-http-1.0": (
        head(POST.replace("1.1", "1.0"), "Host: x", f"{TE}chunked") + CHUNKED,
        UNKNOWN_CODING,
    ),
    "cl-twice-equal": (request(f"{CL}{SIZE}", f"{CL}{SIZE}"), BAD),
    "cl-twice-different": (request(f"{CL}{SIZE}", f"{CL}0"), BAD),
    "cl-list": (request(f"{CL}{SIZE}, {SIZE}"), BAD),
    "cl-plus": (request(f"{CL}+{SIZE}"), BAD),
    "cl-minus": (request(f"{CL}-{SIZE}"), BAD),
    "cl-hexadecimal": (request(f"{CL}0x{SIZE:x}"), BAD),
    "cl-space-inside": (request(f"{CL}1 0"), BAD),
    "cl-underscore": (request(f"{CL}1_0"), BAD),
    "cl-fraction": (request(f"{CL}{SIZE}.0"), BAD),
    "cl-empty": (request(CL), BAD),
    "cl-20-digits": (request(f"{CL}{'9' * 20}"), TOO_LARGE),
    "cl-2-to-64-and-more": (request(f"{CL}{2**64 + SIZE}"), TOO_LARGE),
    # What is a header.
    "obs-fold": (request(f"{CL}{SIZE}", "X: a", " b"), BAD),
    "obs-fold-of-te": (request("X: a", f" {TE}chunked", f"{CL}{SIZE}"), BAD),
    "fold-first": (head(POST, " Host: x", f"{CL}{SIZE}") + ECHO_BODY, BAD),
    "space-before-colon": (request(f"Content-Length : {SIZE}"), BAD),
    "space-in-name": (request("X Y: a", f"{CL}{SIZE}"), BAD),
    "no-colon": (request("nonsense", f"{CL}{SIZE}"), BAD),
    "no-name": (request(": a", f"{CL}{SIZE}"), BAD),
    "bare-lf": (head(POST, f"Host: x\n{CL}{SIZE}") + ECHO_BODY, BAD),
    "bare-lf-everywhere": (
        f"{POST}\nHost: x\n{CL}{SIZE}\n\n".encode() + ECHO_BODY,
        BAD,
    ),
    "bare-cr": (request(f"X: a\rb: c\r{CL}{SIZE}"), BAD),
    "nul-in-value": (request("X: a\0b", f"{CL}{SIZE}"), BAD),
    "nul-in-name": (request("X\0Y: a", f"{CL}{SIZE}"), BAD),
    "control-in-value": (request("X: a\x01b", f"{CL}{SIZE}"), BAD),
    "no-host": (head(POST, f"{CL}{SIZE}") + ECHO_BODY, BAD),
    "two-hosts": (request("Host: y", f"{CL}{SIZE}"), BAD),
    # What is a request line.
    "http-0.9": (b"GET /v2/health/live\r\n\r\n", BAD_VERSION),
    "http-1.2": (LIVE.replace(b"HTTP/1.1", b"HTTP/1.2"), BAD_VERSION),
    "http-2.0": (LIVE.replace(b"HTTP/1.1", b"HTTP/2.0"), BAD_VERSION),
    "http-2-preface": (b"PRI * HTTP/2.0\r\n\r\nMS\r\n\r\n", BAD_VERSION),
    "lower-case-http": (LIVE.replace(b"HTTP", b"http"), BAD_VERSION),
    "no-version-digits": (LIVE.replace(b"HTTP/1.1", b"HTTP/"), BAD_VERSION),
    "two-spaces": (LIVE.replace(b"GET /", b"GET  /"), BAD),
    "space-in-target": (LIVE.replace(b"/live", b"/li ve"), BAD_VERSION),
    "control-in-target": (LIVE.replace(b"/live", b"/li\x01ve"), BAD),
    "nul-in-target": (LIVE.replace(b"/live", b"/li\0ve"), BAD),
    "no-method": (LIVE.removeprefix(b"GET"), BAD),
    "tls-hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), BAD),
    # Where a chunk ends.
    "chunk-size-garbage": (request(f"{TE}chunked", body=b"zz\r\n" + CHUNKED), BAD),
    "chunk-size-empty": (request(f"{TE}chunked", body=b"\r\n" + CHUNKED), BAD),
    "chunk-size-0x": (request(f"{TE}chunked", body=b"0x" + CHUNKED), BAD),
    "chunk-size-plus": (request(f"{TE}chunked", body=b"+" + CHUNKED), BAD),
    "chunk-size-minus": (request(f"{TE}chunked", body=b"-1\r\n" + CHUNKED), BAD),
    "chunk-size-space": (request(f"{TE}chunked", body=b" " + CHUNKED), BAD),
    "chunk-size-overflow": (request(f"{TE}chunked", body=b"1" + b"0" * 16 + b"\r\n"), TOO_LARGE),
    "chunk-size-17-f": (request(f"{TE}chunked", body=b"f" * 17 + b"\r\n"), TOO_LARGE),
    "chunk-size-bare-lf": (
        request(f"{TE}chunked", body=b"%x\n%s\r\n0\r\n\r\n" % (SIZE, ECHO_BODY)),
        BAD,
    ),
    "chunk-without-crlf": (
        request(f"{TE}chunked", body=b"%x\r\n%s0\r\n\r\n" % (SIZE, ECHO_BODY)),
        BAD,
    ),
    "chunk-longer-than-said": (
        request(f"{TE}chunked", body=b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE - 2, ECHO_BODY)),
        BAD,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_once_and_the_connection_closed(server, name):
    sent, statuses = REFUSED[name]
    with Wire(server.port) as wire:
        wire.send(sent + LIVE)
        answer = wire.read()
        assert answer.status in statuses, answer
        assert answer.error
        assert answer.headers.get("connection", "").lower() == "close", answer
        wire.expect_close()


@pytest.mark.parametrize("name", ["te-xchunked", "cl-twice-equal", "obs-fold", "two-hosts"])
def test_what_was_asked_before_is_still_answered(server, name):
    sent, statuses = REFUSED[name]
    with Wire(server.port) as wire:
        wire.send(post("identity_int32", ECHO_BODY) + sent + LIVE)
        assert wire.read().status == 200
        assert wire.read().status in statuses
        wire.expect_close()


ACCEPTED = {
    "chunked": request(f"{TE}chunked", body=CHUNKED),
    "chunked-in-capitals": request("TRANSFER-ENCODING: Chunked", body=CHUNKED),
    "many-chunks": request(
        f"{TE}chunked", body=chunked(*(ECHO_BODY[i : i + 1] for i in range(SIZE)))
    ),
    "chunk-size-in-capitals": request(
        f"{TE}chunked", body=b"%X\r\n%s\r\n0\r\n\r\n" % (SIZE, ECHO_BODY)
    ),
    "chunk-size-with-zeros": request(f"{TE}chunked", body=b"000" + CHUNKED),
    "chunk-extension": request(
        f"{TE}chunked", body=b'%x;a="b;c";d\r\n%s\r\n0;e\r\n\r\n' % (SIZE, ECHO_BODY)
    ),
    "trailers": request(f"{TE}chunked", body=chunked(ECHO_BODY, trailers=b"X: a\r\nY:\r\n")),
    "cl-with-zeros": request(f"{CL}00{SIZE}"),
    "cl-between-blanks": request(f"Content-Length:\t {SIZE} \t"),
    "no-blank-after-colon": request(f"Content-Length:{SIZE}", "X:"),
    "high-bytes-in-value": request("X: \xfc\xff", f"{CL}{SIZE}"),
    "absolute-target": request(f"{CL}{SIZE}").replace(b"POST /", b"POST http://x/"),
    "query": request(f"{CL}{SIZE}").replace(b"/infer ", b"/infer?a=b ", 1),
    "empty-line-before": b"\r\n" + request(f"{CL}{SIZE}"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_the_standard_allows_is_served(server, name):
    with Wire(server.port) as wire:
        wire.send(ACCEPTED[name] + LIVE)
        answer = wire.read()
        assert answer.status == 200, answer
        assert answer.json["outputs"][0]["data"] == [1, 2, 3]
        assert wire.read("GET").status == 200
        wire.expect_alive()


@pytest.mark.parametrize("trailer", ["Content-Length: 9", "Transfer-Encoding: x", "Host: y"])
def test_a_trailer_never_changes_where_the_body_ends(server, trailer):
    body = chunked(ECHO_BODY, trailers=f"{trailer}\r\n".encode())
    with Wire(server.port) as wire:
        wire.send(request(f"{TE}chunked", body=body) + LIVE)
        answer = wire.read()
        if answer.status == 200:
            assert wire.read("GET").json["live"] is True
            wire.expect_alive()
        else:
            assert answer.status == 400, answer
            wire.expect_close()
