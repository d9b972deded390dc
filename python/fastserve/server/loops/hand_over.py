"""HandOver: servers of one address share its listening sockets, so that one can follow another.

A listening socket that is closed resets the connections in its backlog. So it is never closed while
another server lives: a server that starts on an address where one listens gets that one's sockets
(SCM_RIGHTS over an abstract Unix socket named after the address), and accepts from them as well
once its models are loaded. Whoever ends stops accepting; what waits in the backlog is the other's.
No connection is ever between two servers, whatever the order of starts, ends and crashes.

One server owns the name; the others keep a connection to it, and find each other anew when it ends.
The kernel lets only processes of one user share a port; here, too, the peer's user is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Sequence

from fastserve.errors import Error
from fastserve.server import logs
from fastserve.server.sockets import listen

_GREETING, _READY = b"fastserve 1", b"r"
_TIMEOUT_S = 2.0
_RETRY_S = 0.05
_SOCKETS_MAX = 250  # SCM_MAX_FD is 253.
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def name_of(address: tuple[str, int]) -> str:
    """In the abstract namespace, which belongs to the network namespace as the port does."""
    return f"\0fastserve-{os.geteuid()}-{address[0]}-{address[1]}"


def take_over(address: tuple[str, int]) -> tuple[socket.socket, list[socket.socket]] | None:
    """The connection to the server that listens there, and its listening sockets; None without."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(name_of(address))
        if not _is_trusted(connection):
            raise OSError("another user's")
        greeting, fds, _, _ = socket.recv_fds(connection, len(_GREETING), _SOCKETS_MAX)
        sockets = [socket.socket(fileno=fd) for fd in fds]
        if greeting == _GREETING and sockets and all(_fits(s, address) for s in sockets):
            connection.setblocking(False)
            return connection, sockets
        for sock in sockets:
            sock.close()
    except OSError:
        pass
    connection.close()
    return None


def open_shared(host: str, port: int, loops: int) -> HandOver:
    """The sockets of the server that listens there, or new ones. Errors: as listen.bind()."""
    address = listen.resolve(host, port)
    deadline_s = time.monotonic() + _TIMEOUT_S
    while True:
        found = take_over(address) if port else None
        if found is not None:
            return HandOver(found[1], predecessor=found[0])
        listener = _own_name(address) if port else None
        is_late = time.monotonic() > deadline_s
        if port == 0 or is_late or (listener is not None and listen.is_free(host, port)):
            break
        # Somebody listens and cannot be asked: a server that has just ended had the name, and one
        # that shares its sockets takes it in a moment.
        if listener is not None:
            listener.close()
        select.select([], [], [], _RETRY_S)  # Nothing tells when a name becomes free.
    try:
        sockets = [listen.bind(host, port, reuse_port=True)]
        port = sockets[0].getsockname()[1]
        sockets += [listen.bind(host, port, reuse_port=True) for _ in range(loops - 1)]
    except Error:
        if listener is not None:
            listener.close()
        raise
    if is_late:
        logs.warning(
            f"another program listens on {listen.address(host, port)} and does not hand over its"
            " socket: when one of the two ends, connections may be reset"
        )
    return HandOver(sockets, listener=listener)


def _own_name(address: tuple[str, int]) -> socket.socket | None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(name_of(address))
        listener.listen()
    except OSError:
        listener.close()
        return None
    listener.setblocking(False)
    return listener


def _is_trusted(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(credentials)[1] in (0, os.geteuid())


def _fits(sock: socket.socket, address: tuple[str, int]) -> bool:
    """Whether it listens at the address: a peer of the same user may still be another program."""
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    return listens and sock.getsockname()[:2] == address


class HandOver:
    """Threads: the loop's. `predecessor` is the connection that take_over() gave, `listener` the
    socket of the name if it is owned."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        predecessor: socket.socket | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        self.sockets = list(sockets)
        # A server that serves already must go on until this one can.
        self.waits_until_ready = predecessor is not None
        self._address: tuple[str, int] = sockets[0].getsockname()[:2]
        self._predecessor = predecessor
        self._listener = listener
        self._peers: dict[socket.socket, bool] = {}  # Whether each is ready.
        self._is_ready = False
        self._loop: asyncio.AbstractEventLoop  # Set by begin().
        self._has_begun = False
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    def begin(self) -> None:
        """Be found by those that come, and notice when the one before has gone."""
        self._loop = asyncio.get_running_loop()
        self._has_begun = True
        if self._predecessor is not None:
            self._watch_predecessor(self._predecessor)
        elif self._listener is not None:
            self._loop.add_reader(self._listener, self._on_peer, self._listener)
        else:
            self._tasks = [self._loop.create_task(self._rejoin())]

    def say_ready(self) -> None:
        """This server accepts: the one before may end."""
        self._is_ready = True
        if self._predecessor is not None:
            with contextlib.suppress(OSError):
                self._predecessor.send(_READY)

    async def find_successor(self, timeout_s: float) -> bool:
        """Whether another server accepts; one that is about to is waited for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._predecessor is None and self._peers and not any(self._peers.values()):
                    self._changed.clear()
                    await self._changed.wait()
        return self._predecessor is not None or any(self._peers.values())

    def end(self) -> None:
        """No longer be found: from now on the others are on their own."""
        for task in self._tasks:
            task.cancel()
        for sock in filter(None, [self._listener, *self._peers, self._predecessor]):
            if self._has_begun:
                self._loop.remove_reader(sock)
            sock.close()
        self._peers.clear()
        self._predecessor = None

    # -- The one that owns the name ----------------------------------------------------------

    def _on_peer(self, listener: socket.socket) -> None:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        try:
            if not _is_trusted(peer):
                raise PermissionError
            socket.send_fds(peer, [_GREETING], [sock.fileno() for sock in self.sockets])
        except OSError:
            peer.close()
            return
        peer.setblocking(False)
        self._peers[peer] = False
        self._loop.add_reader(peer, self._on_peer_says, peer)
        logs.info("another server shares the port", {"event": "port_shared"})

    def _on_peer_says(self, peer: socket.socket) -> None:
        try:
            said = peer.recv(1)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self._peers[peer] = True
        else:
            self._loop.remove_reader(peer)
            self._peers.pop(peer, None)
            peer.close()
        self._changed.set()

    # -- Those that do not -------------------------------------------------------------------

    def _watch_predecessor(self, predecessor: socket.socket) -> None:
        self._predecessor = predecessor
        self._loop.add_reader(predecessor, self._on_predecessor_ends, predecessor)

    def _on_predecessor_ends(self, predecessor: socket.socket) -> None:
        self._loop.remove_reader(predecessor)
        predecessor.close()
        self._predecessor = None
        self._tasks = [self._loop.create_task(self._rejoin())]

    async def _rejoin(self) -> None:
        """Own the name, or find who does; all that shared it try at once."""
        while (listener := _own_name(self._address)) is None:
            found = await asyncio.to_thread(take_over, self._address)
            if found is not None:
                connection, sockets = found
                for sock in sockets:  # They are what this server has already.
                    sock.close()
                self._watch_predecessor(connection)
                if self._is_ready:
                    self.say_ready()
                return
            await asyncio.sleep(_RETRY_S)
        self._listener = listener
        self._loop.add_reader(listener, self._on_peer, listener)
