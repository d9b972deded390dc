"""Speed of light for large bodies: a uvloop protocol that stores each whole request in a buffer
that it uses again, and writes the body back once.

The answer's head is laid over the bytes in front of the tensor, so that head and tensor leave in
one write and no byte is copied.

    python -m bench.serve.references.stored PORT RESPONSE_HEAD_FILE TENSOR_BYTES
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import cast

import uvloop

from bench.serve.references.constant import request_bytes_of

SLACK_BYTES = 64 * 1024
"""Room for the request's own head and JSON."""


class Stored(asyncio.BufferedProtocol):
    """One connection."""

    __slots__ = ("end", "head", "request_bytes", "tensor_bytes", "transport", "view")

    def __init__(self, head: bytes, tensor_bytes: int) -> None:
        self.head = head
        self.tensor_bytes = tensor_bytes
        self.view = memoryview(bytearray(len(head) + tensor_bytes + SLACK_BYTES))
        # Starting this far in leaves room for the head even where the request's is shorter.
        self.end = len(head)
        self.request_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (the protocol's signature)
        return self.view[self.end :]

    def buffer_updated(self, nbytes: int) -> None:
        self.end += nbytes
        start = len(self.head)
        if not self.request_bytes:
            self.request_bytes = request_bytes_of(bytes(self.view[start : self.end]))
        if self.end - start == self.request_bytes:
            self.answer()
        elif self.request_bytes and self.end - start > self.request_bytes:
            self.transport.close()

    def answer(self) -> None:
        tensor = max(len(self.head), self.end - self.tensor_bytes)
        first = tensor - len(self.head)
        self.view[first:tensor] = self.head
        self.transport.write(self.view[first : tensor + self.tensor_bytes])
        self.end = len(self.head)


async def serve(port: int, head: bytes, tensor_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Stored(head, tensor_bytes), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3])))
