"""A plain blocking HTTP/1.1 client: checks answers before anything is timed."""

from __future__ import annotations

import socket
from dataclasses import dataclass

HOST = "127.0.0.1"
HEAD_BYTES_MAX = 64 * 1024


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and lower-cased headers of a response's head, blank line included."""
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1."):
        raise ValueError(f"not a status line: {lines[0]!r}")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.lower()] = value.strip()
    return int(parts[1]), headers


def read_response(connection: socket.socket) -> Response:
    """Reads one response that carries a Content-Length; ConnectionError when it is cut short."""
    received = bytearray()
    while (end := received.find(b"\r\n\r\n")) < 0:
        chunk = connection.recv(64 * 1024)
        if not chunk or len(received) > HEAD_BYTES_MAX:
            raise ConnectionError(f"no response head after {len(received)} bytes")
        received += chunk
    head = bytes(received[: end + 4])
    status, headers = parse_head(head)
    length = int(headers["content-length"])
    body = received[end + 4 :]
    while len(body) < length:
        chunk = connection.recv(length - len(body))
        if not chunk:
            raise ConnectionError(f"the body ends after {len(body)} of {length} bytes")
        body += chunk
    return Response(status, headers, head, bytes(body))


def open_connection(port: int, timeout_s: float = 30.0) -> socket.socket:
    connection = socket.create_connection((HOST, port), timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exchange(port: int, request: bytes) -> Response:
    """Sends one request on a connection of its own and returns the answer."""
    with open_connection(port) as connection:
        connection.sendall(request)
        return read_response(connection)


def get(port: int, path: str) -> Response:
    return exchange(port, f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())


def at_once(port: int, requests: list[bytes]) -> list[Response]:
    """Sends each request on its own connection, all within one burst, and collects the answers.

    The connections are open before the first byte is sent, so that nothing but the burst is
    between the first request and the last.
    """
    connections = [open_connection(port) for _ in requests]
    try:
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request)
        return [read_response(connection) for connection in connections]
    finally:
        for connection in connections:
            connection.close()
