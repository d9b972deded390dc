"""The listening sockets. Bound before anything is loaded, so that a taken port fails at once."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from fastserve.errors import Error, invalid

# The kernel caps it at net.core.somaxconn, 4096 by default since Linux 5.4.
BACKLOG = 4096
# Who may write to the socket may use the models; a group is let in with chmod.
UNIX_SOCKET_MODE = 0o600


def bind(host: str, port: int) -> socket.socket:
    """Errors: one line that says what to change."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server(
            (host, port),
            family=family,
            backlog=BACKLOG,
            # "::" means every address, and people who write it expect IPv4 among them.
            dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
        )
    except socket.gaierror:
        raise invalid(f"--host {host}: no such address; 127.0.0.1 is this machine alone") from None
    except OSError as error:
        raise _explain(error, host, port) from None


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


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
