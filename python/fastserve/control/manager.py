"""Manager: drives every version from disk to served, and knows the state of each.

Threads: load_all() blocks and runs on a loader thread, load() blocks on any; the rest may be called
from any thread. States and the table of models are replaced whole, so a reader sees an old one or a
new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastserve import _core
from fastserve.config.model_config import ModelConfig
from fastserve.config.spelling import did_you_mean
from fastserve.control.loader import Loaded
from fastserve.control.repository import ModelSource
from fastserve.control.state import State, VersionState
from fastserve.errors import Error, from_core, not_found

# One engine at a time would leave a core idle while a file is read; more would only compete.
LOADER_THREADS = 2


@dataclass
class Model:
    """One model: its versions' states, and why it has none."""

    source: ModelSource
    states: dict[int, VersionState] = field(default_factory=dict)
    loaded: dict[int, Loaded] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    problem: str = ""
    attempted: bool = False
    failure: Error | None = None

    @property
    def name(self) -> str:
        return self.source.name

    def ready_versions(self) -> list[int]:
        return sorted(v for v, s in list(self.states.items()) if s.state is State.READY)

    def default_version(self) -> int | None:
        """The version that serves requests which name none: the highest."""
        return max(self.ready_versions(), default=None)

    def reason(self, version: int | None = None) -> str:
        """Why it, or the version, is not served."""
        states = dict(self.states)
        if version in states:
            state = states[version]
            return state.reason or f"it is {state.state.lower()}"
        if self.problem:
            return self.problem
        if not self.attempted:
            return "it is loading"
        if version is not None:
            present = version in self.source.versions
            return "version_policy leaves it out" if present else "there is no such version"
        reasons = [state.reason for state in states.values() if state.reason]
        return "; ".join(reasons) or "no version of it is served"


class VersionLoader(Protocol):
    """A Loader, or what loads into several processes at once."""

    def read_config(self, source: ModelSource) -> ModelConfig: ...
    def load(self, source: ModelSource, version: int, config: ModelConfig) -> Loaded: ...


class Published(Protocol):
    """_core.ServingMap, or the maps of several processes; `servable` is what the loader made."""

    def publish(self, servable: Any) -> None: ...
    def retire(self, name: str, version: int) -> None: ...


class Manager:
    def __init__(
        self, sources: Sequence[ModelSource], serving_map: Published, loader: VersionLoader
    ) -> None:
        self._serving_map = serving_map
        self._loader = loader
        self.models = {source.name: Model(source) for source in sources}
        self._changes = threading.Lock()  # Held by who replaces `models`, never while loading.

    def load_all(self, on_warning: Callable[[str], None]) -> None:
        """Load everything, one version after another on each of a few threads.

        A version that fails does not stop the others: its state says why.
        """
        models = list(self.models.values())
        if len(models) == 1:
            self._load_model(models[0], on_warning, self._loader)
            return
        with ThreadPoolExecutor(LOADER_THREADS, thread_name_prefix="load") as pool:
            list(pool.map(lambda m: self._load_model(m, on_warning, self._loader), models))

    def load(
        self,
        source: ModelSource,
        on_warning: Callable[[str], None],
        loader: VersionLoader | None = None,
    ) -> Model:
        """Load one more model while others are served.

        Errors: ALREADY_EXISTS, or why no version can be served; it is then as if it had never been.
        """
        model = Model(source)
        with self._changes:
            if source.name in self.models:
                raise Error("ALREADY_EXISTS", f"there is a model '{source.name}' already")
            self.models = {**self.models, source.name: model}
        try:
            self._load_model(model, on_warning, loader or self._loader)
            if not model.ready_versions():
                raise model.failure or Error("FAILED_PRECONDITION", model.reason())
        except BaseException:  # Also Ctrl-C: nobody would ever hold this model.
            self._forget(source.name)
            self._retire(model)
            raise
        return model

    def unload(self, name: str) -> None:
        """Unpublish a model and forget it; what is in flight finishes, and is waited for.

        Errors: NOT_FOUND; FAILED_PRECONDITION while it loads.
        """
        with self._changes:
            model = self.models.get(name)
            if model is None:
                raise not_found(f"there is no model '{name}'{did_you_mean(name, self.models)}")
            if not model.attempted:
                raise Error("FAILED_PRECONDITION", f"model '{name}' is loading")
            self.models = {key: value for key, value in self.models.items() if key != name}
        self._retire(model)

    def is_settled(self) -> bool:
        """Whether the first attempt to load has ended for every model."""
        return all(model.attempted for model in self.models.values())

    def all_ready(self) -> bool:
        return self.is_settled() and all(
            model.states and all(s.state is State.READY for s in model.states.values())
            for model in self.models.values()
        )

    def any_ready(self) -> bool:
        return any(model.ready_versions() for model in self.models.values())

    def retire_all(self) -> None:
        """Unpublish everything; what is in flight finishes."""
        for model in self.models.values():
            self._retire(model)

    def _forget(self, name: str) -> None:
        with self._changes:
            self.models = {key: value for key, value in self.models.items() if key != name}

    def _retire(self, model: Model) -> None:
        for version in model.ready_versions():
            model.states[version] = model.states[version].to(State.RETIRED)
            # Before the map's: the last reference joins the engine's threads, and only retire()
            # does so without the GIL.
            model.loaded.pop(version, None)
            self._serving_map.retire(model.name, version)

    def _load_model(
        self, model: Model, on_warning: Callable[[str], None], loader: VersionLoader
    ) -> None:
        try:
            if model.source.problem:
                raise Error("NOT_FOUND", model.source.problem)
            config = loader.read_config(model.source)
            model.warnings = config.warnings
            for warning in config.warnings:
                on_warning(warning)
            for version in self._choose(model, config):
                self._load_version(model, version, config, on_warning, loader)
        except Error as error:
            model.problem, model.failure = error.message, error
        finally:
            model.attempted = True

    def _choose(self, model: Model, config: ModelConfig) -> tuple[int, ...]:
        policy, present = config.version_policy, tuple(model.source.versions)
        for missing in sorted(set(policy.specific or ()) - set(present)):
            model.states[missing] = VersionState(model.name, missing).to(
                State.FAILED,
                f"{model.name}/{missing}: no such version directory, though version_policy asks"
                " for it",
            )
        chosen = policy.choose(present)
        for version in chosen:
            model.states[version] = VersionState(model.name, version)
        return chosen

    def _load_version(
        self,
        model: Model,
        version: int,
        config: ModelConfig,
        on_warning: Callable[[str], None],
        loader: VersionLoader,
    ) -> None:
        state = model.states[version] = model.states[version].to(State.LOADING)
        try:
            loaded = loader.load(model.source, version, config)
            self._serving_map.publish(loaded.servable)
        except (Error, _core.CoreError) as error:
            model.failure = error if isinstance(error, Error) else from_core(error)
            model.states[version] = state.to(State.FAILED, model.failure.message)
            return
        for warning in loaded.served.warnings:
            on_warning(warning)
        model.loaded[version] = loaded
        model.states[version] = state.to(State.READY)
