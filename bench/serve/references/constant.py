"""Speed of light for small requests: a uvloop protocol that answers each request with a constant.

It learns the requests' length from the first one of each connection and from then on only counts
bytes. Nothing that a server has to do for its living is done here.

    python -m bench.serve.references.constant PORT RESPONSE_FILE
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import cast

import uvloop

RECEIVE_BYTES = 64 * 1024


def request_bytes_of(received: bytes) -> int:
    """Length of the first request, or 0 while its head is incomplete."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", received[: end + 2])
    return end + 4 + (int(length.group(1)) if length else 0)


class Constant(asyncio.BufferedProtocol):
    """One connection."""

    __slots__ = ("first", "pending", "request_bytes", "response", "transport", "view")

    def __init__(self, response: bytes) -> None:
        self.response = response
        self.view = memoryview(bytearray(RECEIVE_BYTES))
        self.first = bytearray()
        self.pending = 0
        self.request_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (the protocol's signature)
        return self.view

    def buffer_updated(self, nbytes: int) -> None:
        self.pending += nbytes
        if self.pending == self.request_bytes:
            self.pending = 0
            self.transport.write(self.response)
        elif not self.request_bytes:
            self.learn(nbytes)
        elif self.pending > self.request_bytes:
            self.transport.close()  # Not the request that it learned: be loud, not wrong.

    def learn(self, nbytes: int) -> None:
        self.first += self.view[:nbytes]
        self.request_bytes = request_bytes_of(bytes(self.first))
        if self.request_bytes:
            self.pending = 0
            self.buffer_updated(len(self.first))


async def serve(port: int, response: bytes) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Constant(response), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
