"""Manager: drives every version from disk to served, and knows the state of each.

Threads: load_all() blocks and runs on a loader thread; the rest may be called from any thread.
States are frozen values that are replaced whole, so a reader sees an old one or a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastserve import _core
from fastserve.config.model_config import ModelConfig
from fastserve.control.loader import Loaded
from fastserve.control.repository import ModelSource
from fastserve.control.state import State, VersionState
from fastserve.errors import Error

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

    def load_all(self, on_warning: Callable[[str], None]) -> None:
        """Load everything, one version after another on each of a few threads.

        A version that fails does not stop the others: its state says why.
        """
        models = list(self.models.values())
        if len(models) == 1:
            self._load_model(models[0], on_warning)
            return
        with ThreadPoolExecutor(LOADER_THREADS, thread_name_prefix="load") as pool:
            list(pool.map(lambda model: self._load_model(model, on_warning), models))

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
            for version in model.ready_versions():
                self._serving_map.retire(model.name, version)
                model.states[version] = model.states[version].to(State.RETIRED)
            model.loaded.clear()

    def _load_model(self, model: Model, on_warning: Callable[[str], None]) -> None:
        try:
            if model.source.problem:
                raise Error("NOT_FOUND", model.source.problem)
            config = self._loader.read_config(model.source)
            model.warnings = config.warnings
            for warning in config.warnings:
                on_warning(warning)
            for version in self._choose(model, config):
                self._load_version(model, version, config, on_warning)
        except Error as error:
            model.problem = error.message
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
        self, model: Model, version: int, config: ModelConfig, on_warning: Callable[[str], None]
    ) -> None:
        state = model.states[version] = model.states[version].to(State.LOADING)
        try:
            loaded = self._loader.load(model.source, version, config)
            self._serving_map.publish(loaded.servable)
        except (Error, _core.CoreError) as error:
            model.states[version] = state.to(State.FAILED, str(error.args[-1]))
            return
        for warning in loaded.served.warnings:
            on_warning(warning)
        model.loaded[version] = loaded
        model.states[version] = state.to(State.READY)
