"""What a client is made with, for all its servers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastserve.client.urls import Address


@dataclass(frozen=True)
class Endpoint:
    """Whom to connect to, and how often at most."""

    address: Address
    tls: ssl.SSLContext | None
    connections_max: int


@dataclass(frozen=True)
class ClientSettings:
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    binary: bool = True
    connections_max: int = 100
    answer_bytes_max: int = 2**31 - 1

    def __post_init__(self) -> None:
        if self.connections_max < 1:
            raise ValueError(f"connections_max: expected at least 1, found {self.connections_max}")
        if self.answer_bytes_max < 1:
            raise ValueError(
                f"answer_bytes_max: expected at least 1, found {self.answer_bytes_max}"
            )

    def endpoint(self, address: Address) -> Endpoint:
        return Endpoint(address, self._tls_for(address), self.connections_max)

    def _tls_for(self, address: Address) -> ssl.SSLContext | None:
        """The caller's context as it is; else one that trusts what the system trusts."""
        if not address.is_tls:
            return None
        if self.tls is not None:
            return self.tls
        context = ssl.create_default_context()
        context.set_alpn_protocols(["h2" if address.is_grpc else "http/1.1"])
        return context
