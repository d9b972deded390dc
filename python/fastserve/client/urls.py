"""Where a server is, out of what a user writes."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from fastserve.errors import invalid

_DEFAULT_PORTS = {"http": 80, "https": 443, "grpcs": 443}
_EXPECTED = (
    "expected http://host:port, https://, grpc:// or grpcs://, or http+unix:/path or"
    " grpc+unix:/path"
)


@dataclass(frozen=True)
class Address:
    url: str  # As a message shows it.
    is_grpc: bool
    is_tls: bool
    host: str
    port: int
    unix_path: str  # "" for TCP.
    prefix: str  # Of every path; "" or "/something", HTTP only.

    @property
    def authority(self) -> str:
        """As Host and :authority say it."""
        if self.unix_path:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse(url: str) -> Address:
    """`host:port` alone is HTTP. Errors: INVALID_ARGUMENT."""
    if "://" not in url and "+unix:" not in url:
        url = f"http://{url}"
    parts = urlsplit(url)
    protocol, _, over = parts.scheme.partition("+")
    if over == "unix":
        if protocol not in ("http", "grpc") or not parts.path.startswith("/") or parts.netloc:
            raise invalid(f"{url}: {_EXPECTED}")
        return Address(url, protocol == "grpc", False, "", 0, parts.path, "")
    if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname:
        raise invalid(f"{url}: {_EXPECTED}")
    if parts.username or parts.query or parts.fragment:
        raise invalid(f"{url}: {_EXPECTED}, without a user, a query or a fragment")
    try:
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        raise invalid(f"{url}: the port is no number from 0 to 65535") from None
    if port == 0:
        raise invalid(f"{url}: expected a port, e.g. {parts.scheme}://{parts.hostname}:8001")
    is_grpc = parts.scheme.startswith("grpc")
    prefix = parts.path.rstrip("/")
    if is_grpc and prefix:
        raise invalid(f"{url}: a path means nothing over gRPC")
    is_tls = parts.scheme in ("https", "grpcs")
    return Address(url.rstrip("/"), is_grpc, is_tls, parts.hostname, port, "", prefix)
