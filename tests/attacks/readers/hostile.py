"""Streams of requests as an attacker writes them: mostly right, and wrong where readers differ.

`stream(seed)` is the same for the same seed. A stream has one to three requests; each is built
from parts (request line, fields, body), and each part is now and then replaced by one of the
spellings that real programs have been known to read in different ways.
"""

from __future__ import annotations

from random import Random

CRLF = b"\r\n"
# fmt: off
LINE_ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\t\r\n", b"\x0b\r\n", b"\0\r\n"]
METHODS = [b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PUT", b"CONNECT", b"TRACE", b"get", b"P ST"]
TARGETS = [b"/a", b"/a?b=c", b"*", b"http://x/a", b"HTTPS://x", b"http://y/a", b"x:80", b"/a#b",
           b"//x/a", b"/a%", b"/a\tb", b"/\xc3\xa4", b"http://x?a", b"http://u@x/", b"", b"\\"]
VERSIONS = [b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1",
            b"HTTP/1.1 ", b"HTTP/01.1", b"HTTP/1.", b"HTTP/1.1\x0b", b"", b"HTTPS/1.1"]
CODINGS = [b"Chunked", b"CHUNKED", b"chunked ", b"\tchunked", b"\x0bchunked", b"chunked\x0c",
           b"xchunked", b"chunkedx", b"chunked, chunked", b"chunked,", b",chunked", b"identity",
           b"identity, chunked", b"chunked, identity", b"gzip, chunked", b"chunked, gzip",
           b"chunked;q=1", b'"chunked"', b"", b"chun ked", b"chunked\0", b"\xa0chunked"]
NAMES = [b"%s ", b"%s\t", b" %s", b"%s\0", b"%s\x0b", b"%s\r", b"X-%s", b"%s-", b"(%s", b"%s\xa0",
         b"\xef\xbb\xbf%s", b'"%s"', b"%s:", b"%s\n"]
FIELDS = [b"X: y", b"X:", b"X:y", b"X: \t y \t ", b"X: a:b", b": y", b"X", b"X y: z", b"X: a\0b",
          b"X: a\x01b", b"X: a\x7fb", b"X: \xe4", b"X: a\rb", b"X: a\nb", b" folded", b"\tfolded",
          b"X: y\r\n z", b"X: y\r\n\tContent-Length: 3", b"Host: x", b"Host: z", b"Host:",
          b"Connection: close", b"Connection: keep-alive", b"Connection: close, x", b"Connection:",
          b"Connection: Content-Length", b"Connection: Upgrade", b"Upgrade: h2c", b"Upgrade:",
          b"Expect: 100-continue", b"Expect: x", b"Content_Length: 3", b"Trailer: X",
          b"Content-Length\xc2\xa0: 3", b"Proxy-Connection: close", b"TE: trailers",
          b"Inference-Header-Content-Length: 2", b"Content-Encoding: identity"]
LENGTHS = [b"+%d", b"-%d", b"0x%x", b"0%d", b"%d, %d", b"%d,", b"%d 0", b"%d.0", b"%d_0", b"",
           b"1844674407370955161%d", b"4294967296%d", b"%de0", b"\xa0%d", b"%d\x0b", b"'%d'",
           b"00000000000000000000%d", b"%d;"]
SIZES = [b"0%x", b"0000000%x", b"0x%x", b"+%x", b"-%x", b" %x", b"%x ", b"%x\t", b"%x;a", b"%x;a=b",
         b'%x;a="b;c"', b'%x;a="b\\"', b"%x ;a", b"%x; a", b"%x;", b"%x;\n", b"%x;a\rb", b"%x;\0",
         b"1000000000000000%x", b"10000000000000000%x", b"ffffffff%x", b"%xg", b"%x_", b"", b"\n%x",
         b"%x\x0b", b"00000000000000000%x", b"%x,"]
TRAILERS = [b"X: y", b"X:", b"Content-Length: 3", b"Content-Length: x", b"Host: z", b"Host: x",
            b"Transfer-Encoding: chunked", b"Transfer-Encoding: x", b" folded", b"X : y", b"X",
            b": y", b"X: a\0b", b"X: \x01", b"X: a\rb", b"X: a\nb", b"X: y\r\n z"]
# fmt: on


def stream(seed: int) -> bytes:
    """The bytes of one connection."""
    return Writer(seed).stream()


class Writer:
    """Writes one stream; `boldness` is how likely each part is to be wrong."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.boldness = self.random.choice([0.01, 0.04, 0.12])

    def stream(self) -> bytes:
        data = b"".join(self.request() for _ in range(self.random.randint(1, 3)))
        if self.random.random() < self.boldness:
            data = self.damaged(data)
        return data

    def request(self) -> bytes:
        body, fields = self.body()
        if not self.is_bold():
            fields.append(b"Host: x")
        for _ in range(self.random.choice([0, 0, 1, 2])):
            fields.append(self.random.choice(FIELDS) if self.is_bold(6) else b"X-Y: z")
        self.random.shuffle(fields)
        lines = [self.request_line(), *fields, b""]
        empty = CRLF * self.random.randint(1, 6) if self.is_bold() else b""
        return empty + b"".join(line + self.line_end() for line in lines) + body

    def request_line(self) -> bytes:
        pick = self.random.choice
        method = pick(METHODS) if self.is_bold(6) else pick([b"POST", b"GET"])
        target = pick(TARGETS) if self.is_bold(4) else b"/a"
        version = pick(VERSIONS) if self.is_bold(2) else b"HTTP/1.1"
        spaces = [pick([b"  ", b"\t", b"", b" \t"]) if self.is_bold() else b" " for _ in range(2)]
        return method + spaces[0] + target + spaces[1] + version

    def body(self) -> tuple[bytes, list[bytes]]:
        """A body, and the fields that say (rightly or not) where it ends."""
        text = self.text()
        kind = self.random.choice(["none", "length", "length", "chunked", "chunked"])
        if self.is_bold(3):
            kind = self.random.choice(["both", "twice", "chunked without", "length without"])
        length = self.named(b"Content-Length", self.length(len(text)))
        coding = self.random.choice(CODINGS) if self.is_bold(4) else b"chunked"
        encoding = self.named(b"Transfer-Encoding", coding)
        match kind:
            case "none":
                return b"", []
            case "length":
                return text, [length]
            case "chunked":
                return self.chunks(text), [encoding]
            case "both":
                content = self.random.choice([text, self.chunks(text)])
                return content, [self.named(b"Content-Length", b"%d" % len(content)), encoding]
            case "twice":
                if self.random.random() < 0.5:
                    again = self.length(len(text) + self.random.choice([0, 0, 1, -1]))
                    return text, [length, self.named(b"Content-Length", again)]
                again = self.random.choice([b"chunked", *CODINGS])
                return self.chunks(text), [encoding, self.named(b"Transfer-Encoding", again)]
            case "chunked without":
                return self.chunks(text), []
        return text, []

    def text(self) -> bytes:
        """What a body holds: best of all, something that is a request itself."""
        inner = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
        return self.random.choice([b"abc", b"0\r\n\r\n", inner, b"0\r\n\r\n" + inner, b"x" * 300])

    def length(self, count: int) -> bytes:
        if not self.is_bold(3):
            return b"%d" % count
        form = self.random.choice(LENGTHS)
        return form % ((count,) * form.count(b"%"))

    def named(self, name: bytes, value: bytes) -> bytes:
        if self.is_bold(2):
            name = self.random.choice(NAMES) % name
        colon = self.random.choice([b":", b":\t", b": \t ", b" :"]) if self.is_bold() else b": "
        return name + colon + value

    def chunks(self, text: bytes) -> bytes:
        made = b""
        while text:
            count = self.random.randint(1, len(text))
            said = count + (self.random.choice([1, -1, 2]) if self.is_bold() else 0)
            made += self.size(said) + self.line_end() + text[:count]
            made += self.line_end() if not self.is_bold() else b""
            text = text[count:]
        made += self.size(0) + self.line_end()
        while self.is_bold(4):
            made += self.random.choice(TRAILERS) + self.line_end()
        return made + self.line_end()

    def size(self, count: int) -> bytes:
        if not self.is_bold(3):
            return b"%x" % count
        form = self.random.choice(SIZES)
        return form % (count,) if b"%" in form else form

    def line_end(self) -> bytes:
        return self.random.choice(LINE_ENDS) if self.is_bold(0.5) else CRLF

    def damaged(self, data: bytes) -> bytes:
        """Cut, or a byte more, less or other."""
        at = self.random.randrange(len(data))
        byte = bytes([self.random.choice(b"\0\t\n\r :;,0\x7f\x80" + bytes(range(256)))])
        return self.random.choice(
            [data[:at], data[:at] + byte + data[at:], data[:at] + data[at + 1 :],
             data[:at] + byte + data[at + 1 :], data[:at] + data[at // 2 :]]
        )  # fmt: skip

    def is_bold(self, times: float = 1) -> bool:
        return self.random.random() < self.boldness * times
