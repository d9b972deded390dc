"""Transition: brings one model from what is served to what should be, step by step.

Which step is next is the policy's to say (policy.py); here it is done. Whatever fails leaves what
was served before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from fastserve import _core
from fastserve.config.model_config import ModelConfig
from fastserve.control.events import EventLog
from fastserve.control.farewell import Departure, Farewells
from fastserve.control.loading.loader import Loaded
from fastserve.control.model import Model
from fastserve.control.policy import Action, Standing, Step, TransitionPolicy, aspire
from fastserve.control.repository.fingerprint import Fingerprint, fingerprint
from fastserve.control.repository.model_repository import ModelSource
from fastserve.control.state import State, VersionState
from fastserve.errors import Error, from_core, not_found

# For what runs to end where its memory is needed for what comes. It is loaded afterwards anyway.
_ROOM_TIMEOUT_S = 300.0


class VersionLoader(Protocol):
    """A Loader, or what loads into several processes at once."""

    def read_config(self, source: ModelSource) -> ModelConfig: ...
    def load(
        self, source: ModelSource, version: int, config: ModelConfig, previous: Loaded | None = None
    ) -> Loaded: ...


class Published(Protocol):
    """_core.ServingMap, or the maps of several processes; `servable` is what the loader made."""

    def publish(self, servable: Any) -> Departure | None: ...
    def retire(self, name: str, version: int) -> Departure | None: ...
    def route(self, name: str, labels: dict[str, int], default: int | None) -> None: ...


class Transition:
    """Threads: whoever holds the model's turn."""

    def __init__(self, serving_map: Published, policy: TransitionPolicy, events: EventLog) -> None:
        self._serving_map = serving_map
        self._policy = policy
        self._events = events
        self._states = threading.Lock()
        self.farewells = Farewells()

    def to(
        self,
        model: Model,
        source: ModelSource,
        on_warning: Callable[[str], None],
        loader: VersionLoader,
        labelled: Collection[int] = (),
    ) -> list[Error]:
        """Serve what should live of `source`, and of `labelled`; why something could not be loaded.

        Errors: Error, if it cannot be known what should live.
        """
        if source.problem:
            raise Error("NOT_FOUND", source.problem)
        config = loader.read_config(source)
        model.source, model.problem, model.failure = source, "", None
        warnings = (*source.warnings, *config.warnings)
        if warnings != model.warnings:  # A model is looked at again and again.
            for warning in warnings:
                on_warning(warning)
        model.warnings = warnings
        labelled = {*labelled, *model.labels.values()}
        policy = config.version_policy
        model.aspired = aspire(policy, source.versions, model.skipped, labelled)
        asked = set(policy.specific or ()) - model.skipped
        missing = sorted(asked - set(source.versions))
        failures = self._expect(model, sorted(model.aspired.versions), missing)
        failures += self._walk(model, config, missing, on_warning, loader)
        model.failure = failures[-1] if failures else None
        return failures

    def retire(self, model: Model, *, is_watched: bool = True) -> None:
        """Everything that is served of it; what is in flight finishes. Nobody watches for when
        that is if all ends."""
        for version in model.ready_versions():
            self._retire_version(model, version, is_watched=is_watched)

    def _route(self, model: Model) -> None:
        """Have requests by label, or by no version at all, find what they should."""
        self._serving_map.route(model.name, dict(model.labels), model.default_version())

    def _enter(self, model: Model, state: VersionState) -> VersionState:
        """Every change of a state is an event."""
        with self._states:
            model.states[state.version] = state
        self._events.add(model.name, state.version, state.state, state.reason)
        return state

    # -- Steps -------------------------------------------------------------------------------

    def _walk(
        self,
        model: Model,
        config: ModelConfig,
        missing: Sequence[int],
        on_warning: Callable[[str], None],
        loader: VersionLoader,
    ) -> list[Error]:
        source, failures = model.source, []
        found = {version: fingerprint(source, version) for version in model.aspired.versions}
        # Aspired, too: nothing that is served goes because of a version that is not there.
        found |= dict.fromkeys(missing)
        done = set(missing)
        while step := self._next(model, found, done):
            if step.action is Action.RETIRE:
                self._retire_version(model, step.version)
                continue
            if step.action is Action.AWAIT:
                if not self.farewells.wait(_ROOM_TIMEOUT_S, owner=model):
                    self._give_up_waiting(model)
                continue
            done.add(step.version)
            try:
                self._load_version(model, step.version, config, on_warning, loader)
            except Error as error:
                failures.append(error)
                continue
            model.fingerprints[step.version] = found[step.version]
            self._route(model)
        self._route(model)
        return failures

    def _next(
        self, model: Model, found: Mapping[int, Fingerprint | None], done: Collection[int]
    ) -> Step | None:
        return self._policy(
            Standing(
                version,
                state.state,
                is_aspired=version in found,
                is_stale=version in found
                and version not in done
                and (found[version] is None or model.fingerprints.get(version) != found[version]),
            )
            for version, state in list(model.states.items())
        )

    def _expect(self, model: Model, aspired: Sequence[int], missing: Sequence[int]) -> list[Error]:
        """Give every version that should live a state, and forget those that nobody speaks of."""
        for version, state in list(model.states.items()):
            if state.state not in (State.READY, State.UNLOADING):
                del model.states[version]
        for version in aspired:
            if version not in model.states:
                self._enter(model, VersionState(model.name, version))
        failures = []
        for version in missing:
            reason = (
                f"{model.name}/{version}: no such version directory, though version_policy asks"
                " for it"
            )
            failures.append(not_found(reason))
            if version not in model.states:
                state = VersionState(model.name, version).to(State.FAILED, reason)
                self._enter(model, state)
        return failures

    def _retire_version(self, model: Model, version: int, *, is_watched: bool = True) -> None:
        """From now on no request finds it. It is UNLOADING until nothing of it is left."""
        state = self._enter(model, model.states[version].to(State.UNLOADING))
        model.loaded.pop(version, None)
        model.fingerprints.pop(version, None)
        self._route(model)  # Nobody is sent there any more, by a label or by default.
        departure = self._serving_map.retire(model.name, version)
        self.farewells.expect(
            departure if is_watched else None, lambda: self._on_gone(model, state), owner=model
        )

    def _on_gone(self, model: Model, state: VersionState) -> None:
        """On any thread. It may have come back meanwhile, and that is another life."""
        with self._states:
            if model.states.get(state.version) is not state:
                return
            model.states[state.version] = state = state.to(State.RETIRED)
        self._events.add(model.name, state.version, state.state)

    def _give_up_waiting(self, model: Model) -> None:
        """Somebody does not let go. Its successor is loaded all the same."""
        for state in list(model.states.values()):
            if state.state is State.UNLOADING:
                self._on_gone(model, state)

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
        if state.state in (State.UNLOADING, State.RETIRED):
            state = self._enter(model, VersionState(model.name, version))
        if not is_served:
            state = self._enter(model, state.to(State.LOADING))
        try:
            loaded = loader.load(model.source, version, config, model.loaded.get(version))
            self._serving_map.publish(loaded.servable)
        except (Error, _core.CoreError) as error:
            failure = error if isinstance(error, Error) else from_core(error)
            if not is_served:
                self._enter(model, state.to(State.FAILED, failure.message))
            raise failure from None
        model.loaded[version] = loaded
        for warning in loaded.served.warnings:
            on_warning(warning)
        # Also of one that was there before: who follows a model wants to know of its new files.
        self._enter(
            model,
            VersionState(model.name, version, State.READY) if is_served else state.to(State.READY),
        )
