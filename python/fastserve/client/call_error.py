"""CallError: what a call of a client failed with, and which server said so."""

from __future__ import annotations

from fastserve import _core
from fastserve.errors import Error

# HTTP statuses as gRPC's canonical codes: the reverse of errors.HTTP_STATUS where that is one to
# one, and what proxies answer.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class CallError(Error):
    """Why a call failed: `code` in gRPC's canonical spelling, `message` as the server said it.

    `server` is the URL of the server that was asked. `retry_after_s` is what it asked for, in
    seconds, or None. `is_retryable`: another attempt may succeed where this one did not.
    `is_answer`: the server said so itself, rather than that it could not be asked.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        server: str = "",
        retry_after_s: float | None = None,
        is_retryable: bool = False,
        is_answer: bool = False,
    ) -> None:
        super().__init__(code, message)
        self.server = server
        self.retry_after_s = retry_after_s
        self.is_retryable = is_retryable
        self.is_answer = is_answer


def from_core(error: _core.CoreError, server: str) -> CallError:
    """What the core says of a request, an answer or a connection."""
    code, message = (str(part) for part in error.args)
    return CallError(code, message, server=server, is_retryable=code == "UNAVAILABLE")


def code_of_http(status: int) -> str:
    """INTERNAL for statuses that say nothing more."""
    return _CODES.get(status, "INVALID_ARGUMENT" if 400 <= status < 500 else "INTERNAL")


def unreachable(server: str, error: OSError) -> CallError:
    """No connection, or one that broke."""
    reason = error.strerror or str(error) or type(error).__name__
    return CallError(
        "UNAVAILABLE",
        f"{server}: {reason}; is a server running there?",
        server=server,
        is_retryable=True,
    )


def too_late(server: str = "") -> CallError:
    what = f"{server} did not answer" if server else "no answer"
    return CallError("DEADLINE_EXCEEDED", f"{what} within the call's timeout", server=server)
