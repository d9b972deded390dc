"""One HTTP connection to a KServe v2 server, and errors that a person can act upon."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from fastserve.cli.arguments import UsageError
from fastserve.errors import Error


class RequestFailed(Error):
    """The server could not be asked, or answered with an error."""

    def __init__(self, message: str) -> None:
        super().__init__("UNAVAILABLE", message)


@dataclass(frozen=True)
class Answer:
    head: dict[str, Any]
    tail: bytes
    took_ns: int


class Peer:
    """Threads: one."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """`url` is host:port or http://host:port[/prefix]. Errors: UsageError."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port or 80
        except ValueError:
            raise UsageError(f"{url}: the port is no number from 0 to 65535") from None
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"{url}: expected host:port or http://host:port")
        self._prefix = parts.path.rstrip("/")
        self._shown_as = f"http://{parts.netloc}"
        self._connection = http.client.HTTPConnection(parts.hostname, port, timeout=timeout_s)

    def close(self) -> None:
        self._connection.close()

    def at(self, path: str) -> str:
        """A path of the server, below the URL's own."""
        return self._prefix + path

    def model_path(self, model: str, version: str = "") -> str:
        path = f"{self._prefix}/v2/models/{quote(model, safe='')}"
        return f"{path}/versions/{quote(version, safe='')}" if version else path

    def get_json(self, path: str) -> Any:
        _, body = self._request("GET", path)
        return self._parse(path, body)

    def get_text(self, path: str) -> str:
        _, body = self._request("GET", path)
        return body.decode(errors="replace")

    def post_json(self, path: str, value: Any) -> Any:
        """What it answers; None where that is nothing."""
        headers = {"Content-Type": "application/json"}
        _, body = self._request("POST", path, json.dumps(value).encode(), headers)
        return self._parse(path, body) if body else None

    def infer(self, path: str, head: Mapping[str, Any], tail: bytes) -> Answer:
        """`tail` holds the raw tensors that the head announces; empty for plain JSON."""
        text = json.dumps(head).encode()
        headers = {"Content-Type": "application/json"}
        if tail:
            headers = {
                "Content-Type": "application/octet-stream",
                "Inference-Header-Content-Length": str(len(text)),
            }
        began_ns = time.monotonic_ns()
        received, body = self._request("POST", path, text + tail, headers)
        took_ns = time.monotonic_ns() - began_ns
        head_bytes = int(received.get("Inference-Header-Content-Length") or len(body))
        return Answer(self._parse(path, body[:head_bytes]), body[head_bytes:], took_ns)

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[http.client.HTTPMessage, bytes]:
        try:
            self._connection.request(method, path, body, dict(headers))
            response = self._connection.getresponse()
            content = response.read()
        except TimeoutError:
            raise RequestFailed(f"{self._shown_as} did not answer in time") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise RequestFailed(
                f"no answer from {self._shown_as}: {reason}; is a server running there?"
            ) from None
        if response.status != 200:
            raise RequestFailed(f"{self._shown_as} answered {response.status}: {_reason(content)}")
        return response.headers, content

    def _parse(self, path: str, body: bytes) -> Any:
        try:
            return json.loads(body)
        except ValueError:
            raise RequestFailed(
                f"{self._shown_as}{path} did not answer with JSON; is it a KServe v2 server?"
            ) from None


def _reason(body: bytes) -> str:
    """The text of `{"error": text}`, or the body itself."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace") or "(no reason given)"
