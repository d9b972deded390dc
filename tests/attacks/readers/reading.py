"""What a reader of HTTP/1.1 makes of the bytes of one connection, whoever the reader is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One complete request. Field names are in lower case; their order counts."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def __str__(self) -> str:
        fields = ", ".join(f"{name!r}: {value!r}" for name, value in self.fields)
        return f"{self.method!r} {self.target!r} [{fields}] + {self.body!r}"


@dataclass(frozen=True)
class Reading:
    """The complete requests, and why no more come: "" when the reader waits for more bytes."""

    requests: tuple[Request, ...]
    refusal: str = ""
    closed: bool = False  # What lies behind the last request is not looked at.
    heads: int = 0  # Of requests that were accepted before their bodies came; where it is known.

    def __str__(self) -> str:
        end = self.refusal or ("closed" if self.closed else "waits for more")
        return "\n".join([*(f"  {request}" for request in self.requests), f"  then: {end}"])


def field(request: Request, name: bytes) -> bytes:
    """The value of the first field of that name, in lower case; empty without one."""
    return next((value.lower() for key, value in request.fields if key == name), b"")
