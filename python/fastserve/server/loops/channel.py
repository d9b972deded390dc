"""Channel: small framed messages between the parent and one of its loops, over a socketpair.

A frame is two lengths, a head of JSON and a body of bytes:

    !II | {"kind": "control", "id": 7, "method": "GET", ...} | body

What a child says is JSON and bytes, and is looked at as such: a child parses what strangers send.
What the parent says may hold pickled values in its body: whoever is the parent has chosen
everything that the child runs.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

_LENGTHS = struct.Struct("!II")
# A control request may hold a body as large as any other.
_FRAME_BYTES_MAX = 2**32 - 1


@dataclass(frozen=True)
class Message:
    kind: str
    fields: dict[str, Any]
    body: bytes

    @property
    def id(self) -> int:
        return int(self.fields["id"])


class Channel:
    """Threads: the loop's that opened it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> Channel:
        return cls(*await asyncio.open_connection(sock=sock))

    def send(self, kind: str, body: bytes = b"", **fields: Any) -> None:
        """Never blocks. To a peer that is gone it goes nowhere: receive() tells of its end."""
        head = json.dumps({"kind": kind, **fields}).encode()
        if len(body) > _FRAME_BYTES_MAX:
            raise ValueError(f"a body of {len(body)} bytes does not fit a frame")
        if not self._writer.is_closing():
            self._writer.write(_LENGTHS.pack(len(head), len(body)) + head)
            if body:
                self._writer.write(body)

    async def receive(self) -> Message | None:
        """The next message; None when the other side is gone."""
        try:
            lengths = await self._reader.readexactly(_LENGTHS.size)
            head_bytes, body_bytes = _LENGTHS.unpack(lengths)
            fields = json.loads(await self._reader.readexactly(head_bytes))
            body = await self._reader.readexactly(body_bytes) if body_bytes else b""
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return Message(fields.pop("kind"), fields, body)

    async def flush(self) -> None:
        """Until the peer has been given everything, or is gone."""
        transport = self._writer.transport
        transport.set_write_buffer_limits(0)
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    def close(self) -> None:
        self._writer.close()
