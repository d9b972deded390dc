"""HTTP/1.1 by hand over a socket: sends any bytes, and reads answers strictly.

with Wire(port) as wire:
    wire.send(b"GET /v2/health/live HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    assert wire.read().status == 200
"""

import contextlib
import socket
import struct
import time
from types import TracebackType
from typing import Self

from tests.served import HOST, Answer

TIMEOUT_S = 10.0
RECEIVE_BYTES = 1 << 16
ANSWER_BYTES_MAX = 64 << 20

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"


class ConnectionEnded(Exception):
    """The server closed the connection before an answer was complete."""


def post(model: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    """The bytes of an inference request; a Content-Length is added."""
    return head(
        f"POST /v2/models/{model}/infer HTTP/{version}",
        "Host: x",
        f"Content-Length: {len(body)}",
        *headers,
    ) + body  # fmt: skip


def head(*lines: str) -> bytes:
    """Lines with their ends, and the empty one that ends a head."""
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    """A chunked body and its end."""
    parts = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks]
    return b"".join(parts) + b"0\r\n" + trailers + b"\r\n"


class Wire:
    """One connection. Every wait ends after TIMEOUT_S with a failure."""

    def __init__(self, port: int, *, receive_buffer_bytes: int = 0) -> None:
        self._socket = socket.socket()
        if receive_buffer_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.settimeout(TIMEOUT_S)
        try:
            self._socket.connect((HOST, port))
        except OSError:
            self._socket.close()
            raise
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """All of it, or what the server takes before it closes: its answer says why."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        except TimeoutError:
            raise AssertionError(f"the server stopped reading for {TIMEOUT_S:.0f} s") from None

    def send_some(self, data: bytes, within_s: float) -> int:
        """As much as the server takes in that time; how much it was."""
        deadline_s = time.monotonic() + within_s
        sent = 0
        while sent < len(data) and (left_s := deadline_s - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                sent += self._socket.send(data[sent : sent + RECEIVE_BYTES])
            except TimeoutError:
                break
        self._socket.settimeout(TIMEOUT_S)
        return sent

    def read_byte(self) -> bool:
        """One byte; False when the server closed."""
        try:
            return bool(self._socket.recv(1))
        except ConnectionResetError:
            return False

    def read_some(self) -> bytes:
        """Whatever comes next; nothing when the server closed."""
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            return b""

    def end_sending(self) -> None:
        with contextlib.suppress(OSError):  # It may be closed already.
            self._socket.shutdown(socket.SHUT_WR)

    def read(self, method: str = "POST") -> Answer:
        """The next answer, with 1xx ones skipped; `method` is that of its request."""
        while True:
            answer = self.read_any(method)
            if answer.status >= 200:
                return answer

    def read_any(self, method: str = "POST") -> Answer:
        """The next answer, which may be a 100."""
        text = self._take_until(b"\r\n\r\n").decode("latin-1")
        first, *lines = text.split("\r\n")
        version, status, *_ = first.split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0"), first
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon, f"not a header: {line!r}"
            assert name.lower() not in headers, f"{name} came twice"
            headers[name.lower()] = value.strip()
        code = int(status)
        if method == "HEAD" or code < 200 or code in (204, 304):
            return Answer(code, headers, b"")
        assert "transfer-encoding" not in headers, "answers have a Content-Length"
        return Answer(code, headers, self._take(int(headers["content-length"])))

    def read_to_end(self) -> bytes:
        """Everything until the server closes, which it must."""
        while self._receive():
            assert len(self._received) <= ANSWER_BYTES_MAX
        data, self._received = self._received, b""
        return data

    def expect_close(self) -> None:
        """The server sends nothing more, and closes."""
        rest = self.read_to_end()
        assert not rest, f"after the answer came {rest[:200]!r}"

    def expect_alive(self) -> None:
        """The connection serves on, and no byte of another answer waits on it."""
        self.send(LIVE)
        answer = self.read("GET")
        assert answer.status == 200, answer
        assert "live" in answer.json, answer

    def has_input(self, within_s: float) -> bool:
        """Whether the server says anything (or closes) in that time."""
        if self._received:
            return True
        self._socket.settimeout(within_s)
        try:
            self._receive_now()
        except TimeoutError:
            return False
        finally:
            self._socket.settimeout(TIMEOUT_S)
        return True

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Close as a crashed client's machine does: with RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _take_until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            if not self._receive():
                raise ConnectionEnded(f"closed after {self._received[:200]!r}")
        data, _, self._received = self._received.partition(mark)
        return data

    def _take(self, count: int) -> bytes:
        assert count <= ANSWER_BYTES_MAX
        parts, missing = [self._received[:count]], count - len(self._received)
        self._received = self._received[count:]
        while missing > 0:
            if not self._receive():
                raise ConnectionEnded(f"closed {missing} bytes before the end of a body")
            parts.append(self._received[:missing])
            self._received, missing = self._received[missing:], missing - len(parts[-1])
        return b"".join(parts)

    def _receive(self) -> bool:
        """Wait for more; False when the server closed."""
        try:
            return self._receive_now()
        except TimeoutError:
            shown = self._received[:200]
            raise AssertionError(
                f"nothing came for {TIMEOUT_S:.0f} s; received so far: {shown!r}"
            ) from None

    def _receive_now(self) -> bool:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            return False  # It closed while bytes of ours were unread.
        self._received += data
        return bool(data)


def only_answer(port: int, request: bytes, method: str = "POST") -> Answer:
    """The one answer to bytes after which the server must close."""
    with Wire(port) as wire:
        wire.send(request)
        answer = wire.read(method)
        wire.expect_close()
        return answer
