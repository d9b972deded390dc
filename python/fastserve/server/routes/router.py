"""The requests that the core does not answer: health, metadata, configs, metrics, and the
inferences that no served version can take.

Each route is a function of the request's path to a Response; on_control() finds it, answers errors
as JSON, and never raises.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fastserve import __version__
from fastserve.config.config_json import to_json
from fastserve.config.model_config import Tensor
from fastserve.config.spelling import did_you_mean
from fastserve.control.labels import is_label
from fastserve.control.loading.loader import Loaded
from fastserve.control.manager import Manager
from fastserve.control.model import Model
from fastserve.control.model_control import ModelControl
from fastserve.errors import Error, invalid, not_found
from fastserve.server import logs
from fastserve.server.routes.repository import RepositoryRoutes
from fastserve.server.routes.responses import (
    INTERNAL,
    RETRY_FAILED_S,
    RETRY_LOADING_S,
    ControlRequest,
    NotServed,
    Respond,
    Response,
    error_response,
    json_response,
)
from fastserve.server.routes.rpcs import RpcRoutes
from fastserve.server.routes.statistics import WORD, Asked, Count, StatisticsRoutes, parse

# What the server does, in the names of the protocol; never what it does not do yet.
EXTENSIONS = ("classification", "binary_tensor_data", "parameters", "model_configuration")
REPOSITORY_EXTENSIONS = ("model_repository", "model_repository(unload_dependents)")
LINKS = ("/v2", "/v2/health/live", "/v2/health/ready", "/metrics")
# A guess among 200 long names was measured to take 6 ms, 300 times what any other answer takes.
_GUESS_CHARACTERS_MAX, _GUESS_NAMES_MAX = 100, 20
_LISTED_MAX = 10
_SHOWN_NAME_MAX = 100


class Router:
    """Threads: the loop's. `render_metrics` answers later: its first call imports a library. So
    does `render_debug`, which asks all loops; without it there is no /debug. `control` loads and
    unloads models; without it the repository's index is there alone.

    The owner says when the first attempt to load has ended (`is_starting`), and when the end has
    begun (`is_draining`).
    """

    def __init__(
        self,
        manager: Manager,
        render_metrics: Callable[[Respond], None],
        *,
        strict_readiness: bool,
        render_debug: Callable[[ControlRequest, Respond], None] | None = None,
        is_served: Callable[[], bool] = lambda: True,
        control: ModelControl | None = None,
        mode: str = "none",
        count: Count | None = None,
    ) -> None:
        self._manager = manager
        self._repository = RepositoryRoutes(manager, control, mode)
        self.statistics = StatisticsRoutes(count)
        self._rpcs = RpcRoutes(self, self._repository)
        self._extensions = (
            *EXTENSIONS,
            *(REPOSITORY_EXTENSIONS if mode == "explicit" else ()),
            *(("statistics",) if count is not None else ()),
        )
        self._strict_readiness = strict_readiness
        self._is_served = is_served
        # Answered some time later.
        self._later: dict[str, Callable[[ControlRequest, Respond], None]] = {
            "/metrics": lambda _, respond: render_metrics(respond)
        }
        if render_debug is not None:
            self._later["/debug"] = render_debug
        self.is_starting = True
        self.is_draining = False
        self._fixed: dict[str, Callable[[], Response]] = {
            "/": self._index,
            "/v2": lambda: json_response(200, self.server_metadata()),
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            **dict.fromkeys(self._later, self._index),  # Only reached with a wrong verb.
        }
        self._of_models: dict[tuple[str, ...], Callable[[str, str | None], Response]] = {
            (): lambda *of: json_response(200, self.model_metadata(*of)),
            ("ready",): self._model_ready,
            (WORD,): lambda *_: self._index(),  # Only reached with a wrong verb.
            ("config",): lambda *of: json_response(200, self.model_config(*of)),
        }

    def on_control(self, request: ControlRequest) -> None:
        """Answer; whatever goes wrong is answered as well, since nobody above would catch it."""

        if request.is_grpc:
            self._rpcs.render(request)
            return

        def respond(response: Response) -> None:
            try:
                request.respond(response.status, response.body, response.headers)
            except Exception:  # noqa: BLE001 Nobody is left to tell but the log.
                logs.LOGGER.exception("answering %s %s failed", request.method, request.path)

        try:
            later = self._later.get(request.path)
            if later is not None and request.method in ("GET", "HEAD"):
                later(request, respond)
            elif request.method in ("GET", "HEAD") and (asked := parse(request.path)):
                self._render_statistics(asked, respond)
            elif request.method == self._repository.verb(request.path):
                self._repository.render(request, respond)
            else:
                respond(self.answer(request.method, request.path))
        except Exception:  # noqa: BLE001 The caller is C++ and catches nothing.
            logs.LOGGER.exception("%s %s failed", request.method, request.path)
            respond(error_response(500, INTERNAL))

    def _render_statistics(self, asked: Asked, respond: Respond) -> None:
        try:
            version = self.counted_version(asked.name, asked.version)
            self.statistics.render(asked.name or None, version, respond)
        except Error as error:
            respond(error_response(error.http_status, error.message))

    def drain(self) -> None:
        """The end has begun: this server is not ready any more, and nobody may wait for long."""
        self.is_draining = True
        self._repository.end_waiting()

    def answer(self, method: str, path: str) -> Response:
        """The response to any request but those that are answered later."""
        try:
            allow, route = self._find(path)
            if method not in allow:
                return error_response(
                    405,
                    f"{method} is not possible at {path}; use {' or '.join(allow)}",
                    ("Allow", ", ".join(allow)),
                )
            return route()
        except NotServed as error:
            return error_response(503, error.message, retry_after_s=error.retry_after_s)
        except Error as error:
            return error_response(error.http_status, error.message)

    def _find(self, path: str) -> tuple[tuple[str, ...], Callable[[], Response]]:
        """The verbs that `path` takes, and what answers it. Errors: NOT_FOUND with a hint."""
        if path in self._fixed:
            return ("GET", "HEAD"), self._fixed[path]
        if verb := self._repository.verb(path):
            return (verb,), self._index  # Only reached with a wrong verb.
        match path.split("/")[1:]:
            case ["v2", "models", name, *rest] if name:
                version = None
                if rest[:1] == ["versions"] and len(rest) > 1:
                    version, rest = rest[1], rest[2:]
                if rest == ["infer"]:
                    return ("POST",), lambda: self.refuse_unplaced(name, version)
                route = self._of_models.get(tuple(rest))
                if route is not None:
                    return ("GET", "HEAD"), lambda: route(name, version)
                near = [f"{path[: len(path) - len('/'.join(rest))]}{word}" for word in _MODEL_WORDS]
                raise not_found(f"there is nothing at {path}{_guess(path, near)}")
        guess = _guess(path, list(self._fixed)) or "; / lists what is here"
        raise not_found(f"there is nothing at {path}{guess}")

    # -- Server ------------------------------------------------------------------------------

    def _index(self) -> Response:
        from urllib.parse import quote  # Only people look at it.

        models = {
            model.name: {
                "versions": [str(version) for version in model.ready_versions()],
                "url": f"/v2/models/{quote(model.name, safe='')}",
                **({} if model.ready_versions() else {"reason": model.reason()}),
            }
            for model in self._manager.models.values()
        }
        answer = {"name": "fastserve", "version": __version__, "models": models, "links": LINKS}
        return Response(200, json.dumps(answer, indent=2).encode() + b"\n")

    def server_metadata(self) -> dict[str, Any]:
        return {"name": "fastserve", "version": __version__, "extensions": self._extensions}

    def _live(self) -> Response:
        return json_response(200, {"live": True})

    def why_not_ready(self) -> str:
        """Why this server should get no requests now; "" if it should."""
        if self.is_draining:
            return "draining"
        if not self._is_served():
            return "no event loop is serving"
        if self.is_starting:
            return "models are loading"
        if self._strict_readiness and not self._manager.all_ready():
            return "not every model is ready, and --strict-readiness asks for it"
        return ""

    def _ready(self) -> Response:
        if why := self.why_not_ready():
            return error_response(503, why, more={"ready": False})
        return json_response(200, {"ready": True})

    # -- Models ------------------------------------------------------------------------------

    def _model(self, name: str) -> Model:
        model = self._manager.models.get(name)
        if model is None:
            names = sorted(self._manager.models)
            guess = _guess(name, names) or f"; there is {_list(names)}"
            shown = name if len(name) <= _SHOWN_NAME_MAX else name[:_SHOWN_NAME_MAX] + "…"
            raise not_found(f"there is no model '{shown}'{guess}")
        return model

    def _loaded(self, name: str, version: str | None) -> Loaded:
        """The version, or the default one. Errors: NOT_FOUND, INVALID_ARGUMENT, NotServed."""
        model = self._model(name)
        number = _version(model, version)
        chosen = model.default_version() if number is None else number
        loaded = None if chosen is None else model.loaded.get(chosen)
        if loaded is None:
            what = f"model '{name}'" if number is None else f"version {number} of model '{name}'"
            retry_after_s = RETRY_FAILED_S if model.attempted else RETRY_LOADING_S
            raise NotServed(what, model.reason(number), retry_after_s)
        return loaded

    # These say what they say over HTTP and gRPC. Errors: NOT_FOUND, INVALID_ARGUMENT, NotServed.

    def model_metadata(self, name: str, version: str | None) -> dict[str, Any]:
        loaded = self._loaded(name, version)
        versions = self._model(name).ready_versions()
        return {
            "name": name,
            "versions": [str(number) for number in versions],
            "platform": loaded.platform,
            "inputs": [_tensor(tensor) for tensor in loaded.served.inputs],
            "outputs": [_tensor(tensor) for tensor in loaded.served.outputs],
        }

    def model_config(self, name: str, version: str | None) -> dict[str, Any]:
        loaded = self._loaded(name, version)
        return to_json(name, loaded.platform, loaded.config, loaded.served)

    def check_model_ready(self, name: str, version: str | None) -> None:
        self._loaded(name, version)
        if self.is_draining:
            raise NotServed(f"model '{name}'", "draining", RETRY_LOADING_S)

    def counted_version(self, name: str, version: str | None) -> int | None:
        """The version whose statistics are asked for; None: of all, as without a name."""
        if not name or version in (None, ""):
            if name:
                self._model(name)
            return None
        number = _version(self._model(name), version)
        return None if self._loaded(name, version) is None else number

    def refuse_unplaced(self, name: str, version: str | None) -> NoReturn:
        """An inference that the core found no servable for: why there is none."""
        self._loaded(name, version)
        # It was published after the core had looked.
        raise NotServed(f"model '{name}'", "it became ready just now; try again", RETRY_LOADING_S)

    def _model_ready(self, name: str, version: str | None) -> Response:
        try:
            self.check_model_ready(name, version)
        except NotServed as error:
            more = {"name": name, "ready": False}
            return error_response(503, error.message, more=more, retry_after_s=error.retry_after_s)
        return json_response(200, {"name": name, "ready": True})


_MODEL_WORDS = ("ready", "config", "infer", "stats")


def _version(model: Model, text: str | None) -> int | None:
    """The version that a path names by its number or its label; None: the default one.

    Errors: INVALID_ARGUMENT for what is neither, NOT_FOUND for one that is not there.
    """
    if text is None or text in ("", "-1"):
        return None
    if is_label(text):
        return _labelled(model, text)
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise invalid(f"expected an integer or a label as version, found '{text[:100]}'")
    version = int(text)
    if version in model.states:
        return version
    if version in model.source.versions:
        # Not looked at yet, or never: the model's reason is the version's.
        if not model.attempted or model.problem or version in model.skipped:
            return version
        raise not_found(
            f"version {version} of model '{model.name}' is left out by its version_policy, which"
            f" chose {_list(sorted(model.states))}"
        )
    has = _list(sorted(set(model.states) | set(model.source.versions)))
    raise not_found(f"model '{model.name}' has no version {version}; it has {has}")


def _labelled(model: Model, label: str) -> int:
    version = model.labels.get(label)
    if version is not None:
        return version
    has = f"its labels are {_list(sorted(model.labels))}" if model.labels else "it has no labels"
    raise not_found(f"model '{model.name}' has no version '{label}': that is no integer, and {has}")


def _guess(wrong: str, valid: Sequence[str]) -> str:
    """A guess for a client's mistake: on the loop, so never at a length that would stop it."""
    if len(wrong) > _GUESS_CHARACTERS_MAX or len(valid) > _GUESS_NAMES_MAX:
        return ""
    return did_you_mean(wrong, valid)


def _list(items: Sequence[Any]) -> str:
    shown = ", ".join(str(item) for item in items[:_LISTED_MAX]) or "none"
    more = len(items) - _LISTED_MAX
    return f"{shown} and {more} more" if more > 0 else shown


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
