"""Manager: drives every version from disk to served, and knows the state of each.

Threads: load_all() blocks and runs on a loader thread; load(), apply() and release() block on any,
also at once: each model is changed by one of them at a time. The rest may be called from any.
States and the table of models are replaced whole, so a reader sees an old one or a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastserve import _core
from fastserve.config.model_config import ModelConfig
from fastserve.config.spelling import did_you_mean
from fastserve.control.loading.loader import Loaded
from fastserve.control.policy import Action, Standing, availability_preserving
from fastserve.control.repository.model_repository import Fingerprint, ModelSource, fingerprint
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
    is_wanted: bool = True  # False: it is known, and loaded only if somebody asks.
    # What each served version was loaded from.
    fingerprints: dict[int, Fingerprint | None] = field(default_factory=dict)
    # Held by whoever changes it, for as long as that takes.
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

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
        if reasons:
            return "; ".join(reasons)
        if any(not state.attempted for state in states.values()):
            return "it is loading"
        return "no version of it is served" if self.is_wanted else "it is not loaded"

    def is_ready(self) -> bool:
        """Whether a version of it is served and none has failed; another one may be loading."""
        states = [state.state for state in list(self.states.values())]
        return State.READY in states and State.FAILED not in states


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
        self,
        sources: Sequence[ModelSource],
        serving_map: Published,
        loader: VersionLoader,
        wanted: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`wanted` says by name which models load_all() loads; the others are only known."""
        self._serving_map = serving_map
        self._loader = loader
        self.models = {}
        for source in sources:
            is_wanted = wanted(source.name)
            self.models[source.name] = Model(source, is_wanted=is_wanted, attempted=not is_wanted)
        self._changes = threading.Lock()  # Held by who replaces `models`, never while loading.

    def load_all(self, on_warning: Callable[[str], None]) -> None:
        """Load everything, one version after another on each of a few threads.

        A version that fails does not stop the others: its state says why.
        """
        models = [model for model in self.models.values() if model.is_wanted]
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

    def apply(self, source: ModelSource, on_warning: Callable[[str], None]) -> Model:
        """Serve a model as it lies there now: versions that are new or changed are loaded, and then
        those that should not live any more are retired. Nothing changed: nothing is done.

        Errors: why something of it cannot be served. What was served before goes on then.
        """
        with self._changes:
            model = self.models.get(source.name)
            if model is None:
                model = Model(source, is_wanted=False, attempted=True)
                self.models = {**self.models, source.name: model}
        with model.turn:
            model.is_wanted = True
            try:
                failures = self._reconcile(model, source, on_warning, self._loader)
            except Error as error:
                if not model.ready_versions():
                    model.problem, model.failure = error.message, error
                raise
            if failures:
                raise failures[0]
        return model

    def release(self, name: str) -> None:
        """Retire what a model serves and keep in mind that it is there. Errors: NOT_FOUND."""
        model = self.models.get(name)
        if model is None:
            raise not_found(f"there is no model '{name}'{did_you_mean(name, self.models)}")
        with model.turn:
            model.is_wanted = False
            model.problem, model.failure = "", None
            self._retire(model)

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
            model.is_ready() for model in self.models.values() if model.is_wanted
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
            self._retire_version(model, version)

    def _retire_version(self, model: Model, version: int) -> None:
        model.states[version] = model.states[version].to(State.RETIRED)
        # Before the map's: the last reference joins the engine's threads, and only retire() does so
        # without the GIL.
        model.loaded.pop(version, None)
        model.fingerprints.pop(version, None)
        self._serving_map.retire(model.name, version)

    def _load_model(
        self, model: Model, on_warning: Callable[[str], None], loader: VersionLoader
    ) -> None:
        with model.turn:
            try:
                self._reconcile(model, model.source, on_warning, loader)
            except Error as error:
                model.problem, model.failure = error.message, error
            finally:
                model.attempted = True

    def _reconcile(
        self,
        model: Model,
        source: ModelSource,
        on_warning: Callable[[str], None],
        loader: VersionLoader,
    ) -> list[Error]:
        """Step by step to what should live; why aspired versions could not be loaded.

        Errors: Error, if it cannot be known what should live.
        """
        if source.problem:
            raise Error("NOT_FOUND", source.problem)
        config = loader.read_config(source)
        model.source, model.problem, model.failure = source, "", None
        model.warnings = config.warnings
        for warning in config.warnings:
            on_warning(warning)
        aspired = config.version_policy.choose(tuple(source.versions))
        missing = sorted(set(config.version_policy.specific or ()) - set(source.versions))
        failures = self._expect(model, aspired, missing)
        found = {version: fingerprint(source, version) for version in aspired}
        # Aspired, too: nothing that is served goes because of a version that is not there.
        found |= dict.fromkeys(missing)
        tried = set(missing)
        while step := availability_preserving(_standings(model, found, tried)):
            if step.action is Action.RETIRE:
                self._retire_version(model, step.version)
                continue
            tried.add(step.version)
            try:
                self._load_version(model, step.version, config, on_warning, loader)
            except Error as error:
                failures.append(error)
                continue
            model.fingerprints[step.version] = found[step.version]
        model.failure = failures[-1] if failures else None
        return failures

    def _expect(self, model: Model, aspired: Sequence[int], missing: Sequence[int]) -> list[Error]:
        """Give every version that should live a state, and forget those that nobody speaks of."""
        for version in list(model.states):
            if model.states[version].state is not State.READY:
                del model.states[version]
        for version in aspired:
            model.states.setdefault(version, VersionState(model.name, version))
        failures = []
        for version in missing:
            reason = (
                f"{model.name}/{version}: no such version directory, though version_policy asks"
                " for it"
            )
            failures.append(not_found(reason))
            if version not in model.states:
                state = VersionState(model.name, version).to(State.FAILED, reason)
                model.states[version] = state
        return failures

    def _load_version(
        self,
        model: Model,
        version: int,
        config: ModelConfig,
        on_warning: Callable[[str], None],
        loader: VersionLoader,
    ) -> None:
        """Errors: Error. One that is served already is replaced, or goes on if that fails."""
        state = model.states[version]
        is_served = state.state is State.READY
        if not is_served:
            state = model.states[version] = state.to(State.LOADING)
        try:
            loaded = loader.load(model.source, version, config)
            # Before it is published: the one that it replaces is then the map's alone, which lets
            # go of it without the GIL.
            model.loaded[version] = loaded
            self._serving_map.publish(loaded.servable)
        except (Error, _core.CoreError) as error:
            failure = error if isinstance(error, Error) else from_core(error)
            if not is_served:
                model.loaded.pop(version, None)
                model.states[version] = state.to(State.FAILED, failure.message)
            raise failure from None
        for warning in loaded.served.warnings:
            on_warning(warning)
        if not is_served:
            model.states[version] = state.to(State.READY)


def _standings(
    model: Model, found: Mapping[int, Fingerprint | None], tried: Collection[int]
) -> list[Standing]:
    return [
        Standing(
            version,
            state.state,
            is_aspired=version in found,
            is_stale=version in found
            and version not in tried
            and (found[version] is None or model.fingerprints.get(version) != found[version]),
        )
        for version, state in model.states.items()
    ]
