"""The requests that the core does not answer: health, metadata, configs, metrics, and the
inferences that no served version can take.

Each route is a function of the request's path to a Response; on_control() finds it, answers errors
as JSON, and never raises.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
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
from fastserve.server.live.live_settings import LiveSettings
from fastserve.server.routes import table
from fastserve.server.routes.documents import DocumentRoutes
from fastserve.server.routes.options import CHANGES, WrongVerb, options, refuse_foreign_page
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
from fastserve.server.routes.settings import SettingsRoutes
from fastserve.server.routes.shared_memory import SharedMemoryRoutes
from fastserve.server.routes.statistics import Count, StatisticsRoutes

# What the server does, in the names of the protocol; never what it does not do yet.
EXTENSIONS = ("classification", "binary_tensor_data", "parameters", "model_configuration")
REPOSITORY_EXTENSIONS = ("model_repository", "model_repository(unload_dependents)")
LINKS = ("/v2", "/v2/health/live", "/v2/health/ready", "/metrics", "/docs", "/v2/openapi.json")
# A guess among 200 long names was measured to take 6 ms, 300 times what any other answer takes.
_GUESS_CHARACTERS_MAX, _GUESS_NAMES_MAX = 100, 20
_LISTED_MAX = 10
_SHOWN_NAME_MAX = 100
_SHOWN_PATH_MAX = 1000
_OPERATIONS = {name for route in table.ROUTES for name in route.operations.values()}
Values = dict[str, str]


class Router:
    """Threads: the loop's. `render_metrics` answers later: its first call imports a library. So
    does `render_debug`, which asks all loops; without it there is no /debug. `control` loads and
    unloads models; without it the repository's index is there alone. Without `live` nothing can be
    set while the server runs.

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
        live: LiveSettings | None = None,
        cors_origins: Collection[str] = (),
    ) -> None:
        self._manager = manager
        self._repository = RepositoryRoutes(manager, control, mode)
        self.statistics = StatisticsRoutes(count)
        self.settings = SettingsRoutes(live, self._model)
        self.shared_memory = SharedMemoryRoutes(live)
        self._documents = DocumentRoutes(manager, lambda: {*self._now, *self._later})
        self._rpcs = RpcRoutes(self, self._repository)
        self._extensions = (
            *EXTENSIONS,
            *(REPOSITORY_EXTENSIONS if mode == "explicit" else ()),
            *(("statistics",) if count is not None else ()),
            *(("trace", "logging") if live is not None else ()),
            *(("system_shared_memory",) if self.shared_memory.is_on else ()),
        )
        self._strict_readiness = strict_readiness
        self._is_served = is_served
        self._cors_origins = cors_origins
        self.is_starting = True
        self.is_draining = False
        self._now = self._answered_now()
        # Answered some time later.
        self._later: dict[str, Callable[[ControlRequest, Values, Respond], None]] = {
            "metrics": lambda _, __, respond: render_metrics(respond),
            "statistics": lambda _, of, respond: self._render_statistics(of, respond),
            **dict.fromkeys(
                (name for name in _OPERATIONS if name.startswith("repository_")),
                lambda request, _, respond: self._repository.render(request, respond),
            ),
            **dict.fromkeys(
                ("model_load", "model_unload", "model_labels", "model_rollback"),
                lambda request, _, respond: self._repository.render(request, respond),
            ),
            "openapi": lambda _, __, respond: self._documents.render(respond),
        }
        if live is not None:
            self._later |= self.settings.operations() | self.shared_memory.operations()
        if render_debug is not None:
            self._later["debug"] = lambda request, _, respond: render_debug(request, respond)

    def _answered_now(self) -> dict[str, Callable[[Values], Response]]:
        def shown(make: Callable[[str, str | None], dict[str, Any]]) -> Callable[..., Response]:
            return lambda of: json_response(200, make(of["model"], of.get("version")))

        def unplaced(of: Values) -> Response:
            return self.refuse_unplaced(of["model"], of.get("version"))

        return {
            "index": lambda _: self._index(),
            "server_metadata": lambda _: json_response(200, self.server_metadata()),
            "server_live": lambda _: self._live(),
            "server_ready": lambda _: self._ready(),
            "model_metadata": shown(self.model_metadata),
            "model_config": shown(self.model_config),
            "model_ready": lambda of: self._model_ready(of["model"], of.get("version")),
            "infer": unplaced,
            "generate": unplaced,
            "generate_stream": unplaced,
            "docs": lambda _: _page(),
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
            operation, values = self._find(request.method, request.path)
            if operation in CHANGES:
                refuse_foreign_page(request, self._cors_origins)
            if operation == "OPTIONS":
                respond(options(request, has_cors=bool(self._cors_origins)))
            elif (later := self._later.get(operation)) is not None:
                later(request, values, respond)
            else:
                respond(self._now[operation](values))
        except NotServed as error:
            respond(error_response(503, error.message, retry_after_s=error.retry_after_s))
        except WrongVerb as error:
            respond(error_response(405, error.message, ("Allow", error.allow)))
        except Error as error:
            respond(error_response(error.http_status, error.message))
        except Exception:  # noqa: BLE001 The caller is C++ and catches nothing.
            logs.LOGGER.exception("%s %s failed", request.method, request.path)
            respond(error_response(500, INTERNAL))

    def _render_statistics(self, of: Values, respond: Respond) -> None:
        name = of.get("model", "")
        version = self.counted_version(name, of.get("version"))
        self.statistics.render(name or None, version, respond)

    def drain(self) -> None:
        """The end has begun: this server is not ready any more, and nobody may wait for long."""
        self.is_draining = True
        self._repository.end_waiting()

    def _find(self, method: str, path: str) -> tuple[str, Values]:
        """What is asked for, or OPTIONS. Errors: NOT_FOUND with a hint, WrongVerb."""
        if method == "OPTIONS" and path == "*":
            return "OPTIONS", {}
        found = table.find(path)
        if found is None or not self._offers(found[0]):
            raise not_found(f"there is nothing at {path[:_SHOWN_PATH_MAX]}{self._hint(path)}")
        route, values = found
        operation = route.operations.get("GET" if method == "HEAD" else method)
        if method == "OPTIONS":
            return "OPTIONS", values
        if operation is None:
            raise WrongVerb(method, path[:_SHOWN_PATH_MAX], table.verbs(route))
        return operation, values

    def _offers(self, route: table.Route) -> bool:
        return any(name in self._now or name in self._later for name in route.operations.values())

    def _hint(self, path: str) -> str:
        match path.split("/")[1:]:
            case ["v2", "models", name, *rest] if name:
                if rest[:1] == ["versions"] and len(rest) > 1:
                    rest = rest[2:]
                stem = path[: len(path) - len("/".join(rest))]
                return _guess(path, [f"{stem}{word}" for word in table.MODEL_WORDS])
        return _guess(path, [*LINKS, "/"]) or "; / lists what is here"

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


def _page() -> Response:
    from fastserve.server.openapi.page import page  # Only people look at it.

    return page()


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
