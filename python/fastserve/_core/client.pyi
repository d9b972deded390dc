"""The typed face of what fastserve.client stands on: requests, and sessions that know no socket."""

from typing import Any, TypeAlias, final

from fastserve._core import Buffer

# (model, version, id, {output: array}, {parameter: value})
ClientAnswer: TypeAlias = tuple[str, str, str, dict[str, Any], dict[str, bool | int | float | str]]

@final
class ClientRequest:
    """An inference request to another server. Arrays are held, not copied."""

    priority: int
    def __init__(self, model: str, version: str = "", id: str = "") -> None: ...
    def add_input(self, name: str, value: Any) -> None:
        """Its type is the value's own. Raises CoreError (INVALID_ARGUMENT)."""
    def add_output(self, name: str, classification: int = 0) -> None: ...
    def add_parameter(self, name: str, value: bool | int | float | str) -> None: ...
    def set_sequence(self, id: int | str, start: bool, end: bool) -> None: ...

@final
class HttpSession:
    """A client's side of an HTTP/1.1 connection; one thread. Errors of `received` and `ended` mean
    that the connection is of no more use."""

    def __init__(self, *, body_bytes_max: int = ...) -> None: ...
    def begin(
        self,
        method: str,
        target: str,
        authority: str,
        *,
        content_type: str = "",
        body: bytes = b"",
        headers: list[tuple[str, str]] = ...,
    ) -> list[Any]:
        """What to send: objects with the buffer protocol."""
    def begin_infer(
        self,
        request: ClientRequest,
        target: str,
        authority: str,
        *,
        binary: bool,
        timeout_ms: int | None,
        headers: list[tuple[str, str]],
    ) -> list[Any]: ...
    def buffer(self) -> Buffer:
        """Where to receive next; of no use once the session is gone."""
    def received(self, bytes: int) -> bool:
        """Whether the answer is complete."""
    def ended(self) -> None:
        """The server closed the connection. Raises unless that completes the answer."""
    def take_infer(self) -> ClientAnswer: ...
    def header(self, name: str) -> str: ...
    @property
    def has_begun(self) -> bool: ...
    @property
    def is_reusable(self) -> bool: ...
    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...

@final
class GrpcSession:
    """A client's side of an HTTP/2 connection that carries gRPC; one thread."""

    def __init__(self, *, message_bytes_max: int = ...) -> None: ...
    def begin(
        self,
        message: bytes,
        path: str,
        scheme: str,
        authority: str,
        timeout_ns: int | None,
        metadata: list[tuple[str, str]],
    ) -> tuple[int, list[Any]]:
        """A call's number, and what to send. Raises CoreError: UNAVAILABLE, INVALID_ARGUMENT."""
    def begin_infer(
        self,
        request: ClientRequest,
        path: str,
        scheme: str,
        authority: str,
        timeout_ns: int | None,
        metadata: list[tuple[str, str]],
    ) -> tuple[int, list[Any]]: ...
    def forget(self, call: int) -> None: ...
    def output(self) -> list[Any]:
        """What to send: objects with the buffer protocol."""
    def buffer(self) -> Buffer: ...
    def received(self, bytes: int) -> bool:
        """Whether output() has something."""
    def fail(self, why: str) -> None: ...
    def take_changed(self) -> list[int]: ...
    def end_message(self, call: int) -> tuple[str, str, bool, bytes | None] | None:
        """Of a call with one answer: (code, message, whether the server said so, answer), "OK"
        included, and the call is forgotten; None while it runs."""
    def end_infer(self, call: int) -> tuple[str, str, bool, ClientAnswer | None] | None: ...
    def take_stream_infer(self, call: int) -> tuple[str, ClientAnswer] | None: ...
    def end_of(self, call: int) -> tuple[str, str, bool] | None: ...
    @property
    def takes_calls(self) -> bool: ...
    @property
    def calls(self) -> int: ...
