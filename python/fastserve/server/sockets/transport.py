"""Connection: a socket of the event loop whose every byte is handled by the core.

The loop calls get_buffer() and buffer_updated() of the C++ half; no Python frame of ours runs on
the read path. The second base is what stock asyncio asks of a buffered protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastserve import _core


class Connection(_core.Connection, asyncio.BufferedProtocol):
    __slots__ = ()


def connection_factory(
    gateway: _core.Gateway, on_connection: Callable[[], None]
) -> Callable[[], Connection]:
    """Makes the protocol of each accepted socket, after telling `on_connection`."""

    def make() -> Connection:
        on_connection()
        return Connection(gateway)

    return make
