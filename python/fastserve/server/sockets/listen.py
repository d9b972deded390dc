"""The listening sockets. Bound before anything is loaded, so that a taken port fails at once."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastserve.errors import Error, invalid

# The kernel caps it at net.core.somaxconn, 4096 by default since Linux 5.4.
BACKLOG = 4096
# Who may write to the socket may use the models; a group is let in with chmod.
UNIX_SOCKET_MODE = 0o600


def bind(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Errors: one line that says what to change."""
    try:
        return socket.create_server(
            (host, port),
            family=_family(host, port),
            backlog=BACKLOG,
            reuse_port=reuse_port,
            # "::" means every address, and people who write it expect IPv4 among them.
            dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        if reuse_port and error.errno == errno.EADDRINUSE:
            raise Error(
                "ALREADY_EXISTS",
                f"{address(host, port)} is in use by a program that does not share it: start both"
                " with --reuse-port, as the same user",
            ) from None
        raise _explain(error, host, port) from None


def bind_loops(host: str, port: int, loops: int) -> list[socket.socket]:
    """A listening socket for each loop; the kernel spreads the connections over them.

    Errors: as bind(). Sockets that share a port would share it with another program of this user
    as well, so that one is looked for first.
    """
    if loops == 1:
        return [bind(host, port)]
    bind(host, port).close()
    sockets = [bind(host, port, reuse_port=True)]
    port = sockets[0].getsockname()[1]
    return sockets + [bind(host, port, reuse_port=True) for _ in range(loops - 1)]


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there."""
    try:
        bind(host, port).close()
    except Error:
        return False
    return True


def of_loop(sockets: Sequence[socket.socket], number: int, loops: int) -> list[socket.socket]:
    """Those that loop `number` accepts from: no socket without a loop, no loop without a socket.

    A server that takes over may have more loops than there are sockets, or fewer. A Unix socket is
    everybody's.
    """
    unix = [sock for sock in sockets if sock.family == socket.AF_UNIX]
    others = [sock for sock in sockets if sock.family != socket.AF_UNIX]
    mine = others[number::loops] or [others[number % len(others)]]
    return mine + unix


def resolve(host: str, port: int) -> tuple[str, int]:
    """The address that a socket bound there will show. Errors: as bind()."""
    found = _addresses(host, port)[0][4]
    return str(found[0]), int(found[1])


def _family(host: str, port: int) -> socket.AddressFamily:
    family: socket.AddressFamily = _addresses(host, port)[0][0]
    return family


def _addresses(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        raise invalid(f"--host {host}: no such address; 127.0.0.1 is this machine alone") from None


def _explain(error: OSError, host: str, port: int) -> Error:
    if error.errno == errno.EADDRINUSE:
        return Error(
            "ALREADY_EXISTS",
            f"{address(host, port)} is in use; choose another with --port, or any free one with"
            " --port 0",
        )
    if error.errno == errno.EACCES:
        return Error("PERMISSION_DENIED", f"port {port} needs privileges; use one above 1023")
    if error.errno == errno.EADDRNOTAVAIL:
        return invalid(f"--host {host}: not an address of this machine; 0.0.0.0 means all of them")
    return Error("UNAVAILABLE", f"cannot listen on {address(host, port)}: {error.strerror}")


def bind_unix(path: str) -> socket.socket:
    """A Unix socket for this user alone; replaces one whose server is gone, never a living one."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(path)
        # Before it listens: until then nobody can connect, whatever the umask made of it.
        os.chmod(path, UNIX_SOCKET_MODE)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise invalid(f"--unix-socket {path}: {reason}") from None
    except Error:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise invalid(f"--unix-socket {path}: a file that is no socket is in the way; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) == 0:
            raise Error("ALREADY_EXISTS", f"--unix-socket {path}: another server listens on it")
    Path(path).unlink(missing_ok=True)


def url_of(sock: socket.socket) -> str:
    """Where a client on this machine finds it."""
    host, port = sock.getsockname()[:2]
    return f"http://{address({'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host), port)}"


def urls_of(sockets: Sequence[socket.socket]) -> list[str]:
    """Of all ports, each once, the first one first."""
    return list(dict.fromkeys(url_of(s) for s in sockets if s.family != socket.AF_UNIX))


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
