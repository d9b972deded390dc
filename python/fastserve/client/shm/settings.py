"""What a client over shared memory is made with."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic_ns
from urllib.parse import urlsplit

from fastserve._core.shm import ShmConnection
from fastserve.client.shm.deadlines import Seconds
from fastserve.errors import invalid

_EXPECTED = "expected @name, a socket's path (/run/x.sock, ./x.sock), or the server's HTTP port"
_LOCAL = ("localhost", "::1", "0.0.0.0", "::")


@dataclass(frozen=True)
class ShmSettings:
    """Errors: ValueError."""

    address: str  # As the core takes it.
    timeout_s: Seconds | None
    segment_bytes: int
    connect_timeout_s: Seconds
    spin_s: Seconds
    server_user: int | None

    def __post_init__(self) -> None:
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ValueError(f"timeout: expected seconds above 0, found {self.timeout_s}")
        if self.segment_bytes < 1:
            raise ValueError(f"segment_bytes: expected at least 1, found {self.segment_bytes}")
        if not self.connect_timeout_s > 0:
            raise ValueError(
                f"connect_timeout: expected seconds above 0, found {self.connect_timeout_s}"
            )
        if not 0 <= self.spin_s <= 1:
            raise ValueError(f"spin: expected 0 to 1 s, found {self.spin_s}")

    def connect_until(self, deadline_ns: int) -> int:
        """When a connection that is begun now must be there."""
        return min(deadline_ns, monotonic_ns() + int(self.connect_timeout_s * 1e9))

    def connect(self, until_ns: int) -> ShmConnection:
        """Errors: CoreError."""
        return ShmConnection(
            self.address,
            segment_bytes=self.segment_bytes,
            connect_timeout_ns=max(until_ns - monotonic_ns(), 1),
            spin_ns=int(self.spin_s * 1e9),
            server_user=self.server_user,
        )


def address_of(address: str | int) -> str:
    """The name or path that the core connects to. A port, alone or in a URL of this machine, is
    that of HTTP: `fastserve run` listens on @fastserve-PORT. Errors: INVALID_ARGUMENT."""
    if isinstance(address, int):
        return _of_port(address, str(address))
    if address.startswith(("@", "/", "./", "../")):
        return address
    if address.isdecimal():
        return _of_port(int(address), address)
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme not in ("http", "grpc") or not parts.hostname or parts.path not in ("", "/"):
        raise invalid(f"{address}: {_EXPECTED}")
    if parts.hostname not in _LOCAL and not parts.hostname.startswith("127."):
        raise invalid(
            f"{address}: a server over shared memory is on this machine: {_EXPECTED}; of another"
            " machine's server ask fastserve.client"
        )
    try:
        port = parts.port
    except ValueError:
        port = -1
    if port is None:
        raise invalid(f"{address}: expected a port, e.g. localhost:8000")
    return _of_port(port, address)


def _of_port(port: int, text: str) -> str:
    if not 0 < port < 65536:
        raise invalid(f"{text}: the port is no number from 1 to 65535")
    return f"@fastserve-{port}"
