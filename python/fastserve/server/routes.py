"""The control requests: health, metadata, configs, metrics. Inference never comes here.

Each route is a function of the request's path to a Response; on_control() finds it, answers errors
as JSON, and never raises.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastserve import __version__, _core
from fastserve.config.config_json import to_json
from fastserve.config.model_config import Tensor
from fastserve.config.spelling import did_you_mean
from fastserve.control.loader import Loaded
from fastserve.control.manager import Manager, Model
from fastserve.errors import Error, not_found
from fastserve.server import logs

EXTENSIONS = ("binary_tensor_data", "model_configuration")
LINKS = ("/v2", "/v2/health/live", "/v2/health/ready", "/metrics")
_JSON = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = _JSON


def json_response(status: int, value: Any, *headers: tuple[str, str]) -> Response:
    return Response(status, json.dumps(value).encode(), (*_JSON, *headers))


def error_response(status: int, message: str, *headers: tuple[str, str]) -> Response:
    if status in (429, 503):
        headers = (*headers, ("Retry-After", "1"))
    return json_response(status, {"error": message}, *headers)


class Router:
    """Threads: the loop's. `render_metrics` answers later: its first call imports a library."""

    def __init__(
        self,
        manager: Manager,
        render_metrics: Callable[[Callable[[Response], None]], None],
        *,
        strict_readiness: bool,
    ) -> None:
        self._manager = manager
        self._render_metrics = render_metrics
        self._strict_readiness = strict_readiness
        self.is_draining = False

    def on_control(self, request: _core.ControlRequest) -> None:
        def respond(response: Response) -> None:
            body = b"" if request.method == "HEAD" else response.body
            request.respond(response.status, body, response.headers)

        try:
            if request.path == "/metrics" and request.method in ("GET", "HEAD"):
                self._render_metrics(respond)
                return
            respond(self.answer(request.method, request.path))
        except Exception:
            logs.LOGGER.exception("%s %s failed", request.method, request.path)
            respond(error_response(500, "internal error; the server's log has the details"))

    def answer(self, method: str, path: str) -> Response:
        """The response to any request but /metrics."""
        try:
            route, is_infer = self._find(path)
            if is_infer:
                return _wrong_verb(method, path, "POST")
            if method not in ("GET", "HEAD"):
                return _wrong_verb(method, path, "GET, HEAD")
            return route()
        except Error as error:
            return error_response(error.http_status, error.message)

    def _find(self, path: str) -> tuple[Callable[[], Response], bool]:
        """What answers `path`, and whether it is the path of an inference."""
        fixed = {
            "/": self._index,
            "/v2": self._server_metadata,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            "/metrics": self._index,  # Only with a wrong verb.
        }
        if path in fixed:
            return fixed[path], False
        match path.split("/")[1:]:
            case ["v2", "models", name, *rest] if name:
                version = None
                if rest[:1] == ["versions"] and len(rest) > 1:
                    version, rest = rest[1], rest[2:]
                return self._find_model(name, version, rest, path)
        raise not_found(f"there is nothing at {path}{did_you_mean(path, (*fixed, *LINKS))}")

    def _find_model(
        self, name: str, version: str | None, rest: list[str], path: str
    ) -> tuple[Callable[[], Response], bool]:
        routes: dict[tuple[str, ...], Callable[[str, str | None], Response]] = {
            (): self._model_metadata,
            ("ready",): self._model_ready,
            ("config",): self._model_config,
            ("infer",): self._model_ready,  # Only with a wrong verb.
        }
        route = routes.get(tuple(rest))
        if route is None:
            raise not_found(f"there is nothing at {path}")
        return lambda: route(name, version), rest == ["infer"]

    # -- Server ------------------------------------------------------------------------------

    def _index(self) -> Response:
        models = {
            model.name: {
                "versions": [str(version) for version in model.ready_versions()],
                "url": f"/v2/models/{model.name}",
                **({} if model.ready_versions() else {"reason": model.reason()}),
            }
            for model in self._manager.models.values()
        }
        answer = {"name": "fastserve", "version": __version__, "models": models, "links": LINKS}
        return Response(200, json.dumps(answer, indent=2).encode() + b"\n")

    def _server_metadata(self) -> Response:
        return json_response(
            200, {"name": "fastserve", "version": __version__, "extensions": EXTENSIONS}
        )

    def _live(self) -> Response:
        return json_response(200, {"live": True})

    def _ready(self) -> Response:
        is_ready = not self.is_draining and (
            self._manager.all_ready() if self._strict_readiness else self._manager.is_settled()
        )
        return json_response(200 if is_ready else 503, {"ready": is_ready})

    # -- Models ------------------------------------------------------------------------------

    def _model(self, name: str) -> Model:
        model = self._manager.models.get(name)
        if model is None:
            raise not_found(f"there is no model '{name}'{did_you_mean(name, self._manager.models)}")
        return model

    def _loaded(self, name: str, version: str | None) -> Loaded:
        """The version, or the default one. Errors: NOT_FOUND, UNAVAILABLE, FAILED_PRECONDITION."""
        model = self._model(name)
        number = _version(model, version)
        chosen = model.default_version() if number is None else number
        if chosen is not None and chosen in model.loaded:
            return model.loaded[chosen]
        shown_as = f"model '{name}'" if number is None else f"version {number} of model '{name}'"
        code = "FAILED_PRECONDITION" if model.attempted else "UNAVAILABLE"
        raise Error(code, f"{shown_as} is not served: {model.reason(number)}")

    def _model_metadata(self, name: str, version: str | None) -> Response:
        loaded = self._loaded(name, version)
        versions = self._model(name).ready_versions()
        return json_response(
            200,
            {
                "name": name,
                "versions": [str(number) for number in versions],
                "platform": loaded.platform,
                "inputs": [_tensor(tensor) for tensor in loaded.served.inputs],
                "outputs": [_tensor(tensor) for tensor in loaded.served.outputs],
            },
        )

    def _model_config(self, name: str, version: str | None) -> Response:
        loaded = self._loaded(name, version)
        return json_response(200, to_json(name, loaded.platform, loaded.config, loaded.served))

    def _model_ready(self, name: str, version: str | None) -> Response:
        model = self._model(name)
        number = _version(model, version)
        ready = model.ready_versions()
        is_ready = not self.is_draining and (number in ready if number else bool(ready))
        answer: dict[str, Any] = {"name": name, "ready": is_ready}
        if not is_ready:
            answer["reason"] = "draining" if self.is_draining else model.reason(number)
        return json_response(200 if is_ready else 503, answer)


def _version(model: Model, text: str | None) -> int | None:
    """Errors: INVALID_ARGUMENT for what is no version, NOT_FOUND for one that is not there."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Error("INVALID_ARGUMENT", f"expected an integer as version, found '{text}'")
    version = int(text)
    if version not in model.states:
        has = ", ".join(str(number) for number in sorted(model.states)) or "none"
        raise not_found(f"model '{model.name}' has no version {version}; it has {has}")
    return version


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _wrong_verb(method: str, path: str, allow: str) -> Response:
    return error_response(405, f"{method} is not possible at {path}; use {allow}", ("Allow", allow))
