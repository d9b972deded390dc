"""The one exception type of the control plane, and what its codes mean over HTTP."""

from __future__ import annotations

# gRPC's canonical codes as HTTP statuses. FAILED_PRECONDITION and ALREADY_EXISTS answer 400 as
# Triton and TensorFlow Serving do; overload and lateness say so instead of a plain 503.
HTTP_STATUS = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 400,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}

LINE_CHARACTERS_MAX = 2000


def one_line(text: str) -> str:
    """The text as a log or a terminal can take it: control characters escaped, its length bounded.

    Much of a message comes from outside: names in a config, paths, what an engine said.
    """
    if len(text) > LINE_CHARACTERS_MAX:
        text = text[:LINE_CHARACTERS_MAX] + "…"
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


class Error(Exception):
    """What failed, for the person who can change it.

    `code` is gRPC's canonical spelling. `message` is one line: it names the thing, what was
    expected and what was found, and where it can, the fix.
    """

    def __init__(self, code: str, message: str) -> None:
        message = one_line(message)
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message

    @property
    def http_status(self) -> int:
        return HTTP_STATUS.get(self.code, 500)


def from_core(error: BaseException) -> Error:
    """The same error in the control plane's type; `error` is a CoreError with (code, message)."""
    if len(error.args) == 2:
        return Error(str(error.args[0]), str(error.args[1]).rstrip())
    return Error("INTERNAL", str(error))


def invalid(message: str) -> Error:
    return Error("INVALID_ARGUMENT", message)


def not_found(message: str) -> Error:
    return Error("NOT_FOUND", message)
