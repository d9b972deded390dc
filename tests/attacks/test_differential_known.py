"""Attacks that have worked on real servers, each with the verdict that it gets here.

The generator of test_differential.py may or may not write these; this table does. A verdict is the
status of the refusal, or the bodies of the requests that are seen.
"""

import pytest

from tests.attacks.readers import ours

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
END = b"0\r\n\r\n"
TE = b"Transfer-Encoding: chunked"


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /a HTTP/1.1", b"Host: x", *fields, b"", body])


def sized(*fields: bytes, body: bytes) -> bytes:
    return post(b"Content-Length: %d" % len(body), *fields, body=body)


def coded(body: bytes) -> bytes:
    return post(TE, body=body)


def coding(value: bytes) -> bytes:
    """Chunked for who overlooks the mistake in its name; for others the body has a length."""
    return post(b"Content-Length: 5", b"Transfer-Encoding" + value, body=END + HIDDEN)


KNOWN: dict[str, tuple[bytes, int | list[bytes]]] = {
    # Who believes which of the two.
    "cl.te": (sized(TE, body=END + HIDDEN), 400),
    "te.cl": (post(TE, b"Content-Length: 4", body=b"22\r\n" + HIDDEN + b"\r\n" + END), 400),
    "cl.0": (sized(body=HIDDEN), [HIDDEN]),
    "0.cl": (post(b"Content-Length: 0", body=HIDDEN), [b"", b""]),
    "cl.cl": (post(b"Content-Length: 0", b"Content-Length: 33", body=HIDDEN), 400),
    "cl-list": (post(b"Content-Length: 0, 33", body=HIDDEN), 400),
    "cl-on-a-get": (b"GET" + sized(body=HIDDEN)[4:], [HIDDEN]),
    "te.te": (post(TE, b"Transfer-Encoding: cow", body=END + HIDDEN), 400),
    "te.te-beside-cl": (post(b"Content-Length: 5", TE, TE, body=END + HIDDEN), 400),
    "te.0": (coded(END + HIDDEN), [b"", b""]),
    "te-in-1.0": (coded(END + HIDDEN).replace(b"HTTP/1.1", b"HTTP/1.0", 1), 400),
    # Who recognises the name of the coding.
    "te-x": (coding(b": xchunked"), 400),
    "te-space-before-colon": (coding(b" : chunked"), 400),
    "te-tab": (coding(b":\tchunked"), 400),
    "te-vertical-tab": (coding(b":\x0bchunked"), 400),
    "te-folded": (coding(b":\r\n chunked"), 400),
    "te-folded-behind-another": (coding(b"X: x\r\n Transfer-Encoding: chunked"), 400),
    "te-after-bare-lf": (coding(b"-X: x\nTransfer-Encoding: chunked"), 400),
    "te-after-bare-cr": (coding(b"-X: x\rTransfer-Encoding: chunked"), 400),
    "te-after-lf-cr": (coding(b"-X: x\n\rTransfer-Encoding: chunked"), 400),
    "te-quoted": (coding(b": 'chunked'"), 400),
    "te-nul": (coding(b": chunked\0"), 400),
    "te-comma": (coding(b": ,chunked"), 400),
    "te-latin-space": (coding(b":\xa0chunked"), 400),
    "te-underscore": (coding(b"_: chunked"), [END, b""]),
    "te-identity-last": (post(b"Transfer-Encoding: chunked, identity", body=END + HIDDEN), 501),
    "te-empty-element": (post(b"Transfer-Encoding: chunked,", body=END + HIDDEN), 501),
    # Who counts how.
    "cl-plus": (post(b"Content-Length: +33", body=HIDDEN), 400),
    "cl-octal-or-decimal": (post(b"Content-Length: 033", body=HIDDEN), [HIDDEN]),
    "cl-hexadecimal": (post(b"Content-Length: 0x21", body=HIDDEN), 400),
    "cl-wraps-at-32-bits": (post(b"Content-Length: 4294967329", body=HIDDEN), 413),
    "cl-wraps-at-64-bits": (post(b"Content-Length: 18446744073709551649", body=HIDDEN), 400),
    "cl-underscore": (post(b"Content-Length: 3_3", body=HIDDEN), 400),
    "cl-nul": (post(b"Content-Length: 33\0", body=HIDDEN), 400),
    "cl-space-before-colon": (post(b"Content-Length : 33", body=HIDDEN), 400),
    "chunk-wraps-at-32-bits": (coded(b"100000003\r\nabc\r\n" + END), 413),
    "chunk-wraps-at-64-bits": (coded(b"10000000000000003\r\nabc\r\n" + END), 400),
    "chunk-0x": (coded(b"0x3\r\nabc\r\n" + END), 400),
    "chunk-minus": (coded(b"-3\r\nabc\r\n" + END), 400),
    "chunk-space-behind": (coded(b"3 \r\nabc\r\n" + END), 400),
    "chunk-space-before": (coded(b" 3\r\nabc\r\n" + END), 400),
    "chunk-underscore": (coded(b"0_3\r\nabc\r\n" + END), 400),
    "last-chunk-00": (coded(b"00\r\n\r\n" + HIDDEN), [b"", b""]),
    # Who ends a line where.
    "chunk-extension-lf": (coded(b"3;\nabc\r\n" + END), 400),
    "chunk-extension-cr": (coded(b"3;a\rb\r\nabc\r\n" + END), 400),
    "chunk-extension": (coded(b"3;a=b\r\nabc\r\n" + END), [b"abc"]),
    "chunk-size-lf": (coded(b"3\nabc\r\n" + END), 400),
    "chunk-data-lf": (coded(b"3\r\nabc\n" + END), 400),
    "chunk-data-any-two": (coded(b"3\r\nabcXX" + END), 400),
    "chunk-end-lf": (coded(b"0\r\n\n" + HIDDEN), 400),
    "head-lf": (post(b"X: y\n\nGET /hidden HTTP/1.1\r\nHost: x", body=b""), 400),
    "head-cr": (post(b"X: y\r\rGET /hidden HTTP/1.1\r\nHost: x", body=b""), 400),
    "trailer-cl": (coded(b"0\r\nContent-Length: 33\r\n\r\n" + HIDDEN), [b"", b""]),
    "trailer-lf": (coded(b"0\r\nX: y\n\r\n" + HIDDEN), 400),
    "trailer-folded": (coded(b"0\r\nX: y\r\n z\r\n\r\n" + HIDDEN), 400),
    # Who is asked.
    "two-hosts": (post(b"Host: y"), 400),
    "host-and-authority": (b"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "host-folded": (b"GET / HTTP/1.1\r\n Host: x\r\nHost: y\r\n\r\n", 400),
    "host-with-a-path": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
    "host-with-user": (b"GET / HTTP/1.1\r\nHost: y@x\r\n\r\n", 400),
    # Who switches.
    "connect-with-a-body": (b"CONNECT" + sized(body=HIDDEN)[4:], 400),
    "upgrade-with-a-body": (
        sized(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", body=HIDDEN),
        [HIDDEN],
    ),
    "h2-preface": (b"PRI * HTTP/2.0\r\n\r\nMS\r\n\r\n" + HIDDEN, 505),
    "expect-obfuscated": (sized(b"Expect: y 100-continue", body=HIDDEN), 417),
    "connection-takes-cl-away": (sized(b"Connection: Content-Length", body=HIDDEN), [HIDDEN]),
    "http-0.9": (b"GET /\r\n" + HIDDEN, 400),
    "version-twice": (b"GET / HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "first-line-space": (b" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "first-line-nul": (b"\0GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "empty-lines-before": (b"\r\n\r\n" + HIDDEN, [b""]),
}


@pytest.fixture(scope="module")
def readings(pytestconfig):
    streams = [(data, piece) for data, _ in KNOWN.values() for piece in (0, 1)]
    found = ours.read_all(pytestconfig.getoption("--cpp-preset"), streams)
    return dict(zip(KNOWN, zip(found[::2], found[1::2], strict=True), strict=True))


@pytest.mark.parametrize("name", KNOWN)
def test_the_verdict_is_known(readings, name):
    verdict = KNOWN[name][1]
    whole, in_pieces = readings[name]
    assert whole == in_pieces, f"whole:\n{whole}\nbyte by byte:\n{in_pieces}"
    if isinstance(verdict, int):
        assert whole.refusal == str(verdict), whole
        assert not whole.requests, "nothing behind the fault is a request"
    else:
        assert not whole.refusal, whole
        assert [request.body for request in whole.requests] == verdict
