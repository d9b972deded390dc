"""Manager: drives every version from disk to served, and knows the state of each.

Threads: any, also at once: each model is changed by one caller at a time, and what loads blocks.
States and the table of models are replaced whole, so a reader sees an old one or a new one.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

from fastserve.config.spelling import did_you_mean
from fastserve.control.events import EventLog
from fastserve.control.labels import LABELS_MAX, check_label
from fastserve.control.model import Model
from fastserve.control.policy import TransitionPolicy, availability_preserving
from fastserve.control.repository.model_repository import ModelSource
from fastserve.control.state_file import ModelState
from fastserve.control.transition import Published, Transition, VersionLoader
from fastserve.errors import Error, invalid, not_found

# One engine at a time would leave a core idle while a file is read; more would only compete.
LOADER_THREADS = 2
OnWarning = Callable[[str], None]


class Manager:
    def __init__(
        self,
        sources: Sequence[ModelSource],
        serving_map: Published,
        loader: VersionLoader,
        wanted: Callable[[str], bool] = lambda _: True,
        policy: TransitionPolicy = availability_preserving,
        remembered: Mapping[str, ModelState] = MappingProxyType({}),
    ) -> None:
        """`wanted` says by name which models load_all() loads; the others are only known.
        `remembered` is what was decided about models before, also about some that are not there.
        """
        self.events = EventLog()
        self._transition = Transition(serving_map, policy, self.events)
        self._loader = loader
        self._remembered = remembered
        self.models: Mapping[str, Model] = {
            source.name: self._new(source, wanted(source.name)) for source in sources
        }
        self._changes = threading.Lock()  # Held by who replaces `models`, never while loading.

    # -- Loading -----------------------------------------------------------------------------

    def load_all(self, on_warning: OnWarning) -> None:
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
        self, source: ModelSource, on_warning: OnWarning, loader: VersionLoader | None = None
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
            self.forget(source.name)
            self._transition.retire(model)
            raise
        return model

    def apply(self, source: ModelSource, on_warning: OnWarning) -> Model:
        """Serve a model as it lies there now: versions that are new or changed are loaded, and then
        those that should not live any more are retired. Nothing changed: nothing is done.

        Errors: why something of it cannot be served. What was served before goes on then.
        """
        model = self.know(source)
        with model.turn:
            model.is_wanted = True
            try:
                failures = self._transition.to(model, source, on_warning, self._loader)
            except Error as error:
                self._note_problem(model, error)
                raise
            model.outlook = ""
            if failures:
                raise failures[0]
        return model

    def know(self, source: ModelSource) -> Model:
        """Have a model in the table; it is loaded when somebody asks."""
        with self._changes:
            model = self.models.get(source.name)
            if model is None:
                model = self._new(source, is_wanted=False)
                self.models = {**self.models, source.name: model}
            return model

    def _new(self, source: ModelSource, is_wanted: bool) -> Model:
        model = Model(source, is_wanted=is_wanted, attempted=not is_wanted)
        decided = self._remembered.get(source.name)
        if decided is not None:
            model.labels, model.skipped = decided.labels, decided.skipped
        return model

    def _load_model(self, model: Model, on_warning: OnWarning, loader: VersionLoader) -> None:
        with model.turn:
            try:
                self._transition.to(model, model.source, on_warning, loader)
            except Error as error:
                self._note_problem(model, error)
            finally:
                model.attempted = True

    def _note_problem(self, model: Model, error: Error) -> None:
        """Why the model as a whole cannot be looked at. What it serves, it goes on serving."""
        model.failure = error
        if not model.ready_versions():
            model.problem = error.message
        self.events.add(model.name, None, "FAILED", error.message)

    # -- What people decide ------------------------------------------------------------------

    def label(
        self, source: ModelSource, changes: Mapping[str, int | None], on_warning: OnWarning
    ) -> Mapping[str, int]:
        """Move labels, all at once; None takes one away. What gets a label is loaded before, and
        what lives for its label alone goes afterwards. Returns all labels of the model.

        Errors: INVALID_ARGUMENT for what is no label; NOT_FOUND for a version that is not there;
        why it cannot be served: nothing has changed then.
        """
        for label in changes:
            check_label(label)
        model = self._served(source.name)
        with model.turn:
            labels = {**model.labels, **changes}
            kept = {label: version for label, version in labels.items() if version is not None}
            if len(kept) > LABELS_MAX:
                raise invalid(f"expected at most {LABELS_MAX} labels of a model, found {len(kept)}")
            for version in changes.values():
                if version is not None:
                    _check_present(source, version)
            try:
                failures = self._transition.to(
                    model, source, on_warning, self._loader, labelled=kept.values()
                )
                _check_served(model, set(kept.values()) - set(model.labels.values()), failures)
            except Error:
                self._go_back(model, source)
                raise
            model.labels = kept
            self.events.add(model.name, None, "LABELS", _shown(kept))
            self._transition.to(model, source, on_warning, self._loader)
        return kept

    def roll_back(self, source: ModelSource, version: int | None, on_warning: OnWarning) -> Model:
        """Serve `version`, or the one before the current one, and skip those above it until a
        newer one comes. Called with a higher version it takes that back.

        Errors: NOT_FOUND for a version that is not there, or when there is none before;
        FAILED_PRECONDITION where version_policy leaves it out; why it cannot be served.
        Nothing has changed then.
        """
        model = self._served(source.name)
        with model.turn:
            target = _before(model, source) if version is None else version
            _check_present(source, target)
            before = model.skipped
            model.skipped = frozenset(v for v in source.versions if v > target)
            try:
                failures = self._transition.to(model, source, on_warning, self._loader)
                if target not in model.aspired.chosen:
                    raise Error(
                        "FAILED_PRECONDITION",
                        f"version {target} of model '{model.name}' is left out by its"
                        " version_policy",
                    )
                _check_served(model, {target}, failures)
            except Error:
                model.skipped = before
                self._go_back(model, source)
                raise
        return model

    def _go_back(self, model: Model, source: ModelSource) -> None:
        """What was tried failed, and was told: what was there before is all that should live."""
        with contextlib.suppress(Error):
            self._transition.to(model, source, lambda _: None, self._loader)

    def decisions(self) -> dict[str, ModelState]:
        """What people have decided, also about models that are not there now."""
        known = {model.name: _decided(model) for model in self.models.values()}
        return {**self._remembered, **known}

    def _served(self, name: str) -> Model:
        """Errors: NOT_FOUND, FAILED_PRECONDITION for a model that is not loaded."""
        model = self._model(name)
        if not model.is_wanted:
            raise Error("FAILED_PRECONDITION", f"model '{name}' is not loaded; load it first")
        return model

    def _model(self, name: str) -> Model:
        model = self.models.get(name)
        if model is None:
            raise not_found(f"there is no model '{name}'{did_you_mean(name, self.models)}")
        return model

    # -- The end of a model ------------------------------------------------------------------

    def release(self, name: str) -> None:
        """Retire what a model serves and keep in mind that it is there. Errors: NOT_FOUND."""
        model = self._model(name)
        with model.turn:
            model.is_wanted = False
            model.problem, model.failure, model.outlook = "", None, ""
            self._transition.retire(model)

    def unload(self, name: str) -> None:
        """Unpublish a model and forget it; what is in flight finishes.

        Errors: NOT_FOUND; FAILED_PRECONDITION while it loads.
        """
        with self._changes:
            model = self._model(name)
            if not model.attempted:
                raise Error("FAILED_PRECONDITION", f"model '{name}' is loading")
        self.forget(name)
        self._transition.retire(model)

    def forget(self, name: str) -> None:
        """Take it out of the table: it is not there any more. What was decided about it holds again
        if it comes back."""
        with self._changes:
            model = self.models.get(name)
            if model is not None and (model.labels or model.skipped):
                self._remembered = {**self._remembered, name: _decided(model)}
            self.models = {key: value for key, value in self.models.items() if key != name}

    def wait_until_gone(self, timeout_s: float) -> bool:
        """Until nothing is left of what was retired by now; whether that was in time."""
        return self._transition.farewells.wait(timeout_s)

    def retire_all(self) -> None:
        """Unpublish everything; what is in flight finishes. It is the end: nobody is told when."""
        for model in self.models.values():
            self._transition.retire(model, is_watched=False)

    # -- How it is ---------------------------------------------------------------------------

    def is_settled(self) -> bool:
        """Whether the first attempt to load has ended for every model."""
        return all(model.attempted for model in self.models.values())

    def all_ready(self) -> bool:
        return self.is_settled() and all(
            model.is_ready() for model in self.models.values() if model.is_wanted
        )

    def any_ready(self) -> bool:
        return any(model.ready_versions() for model in self.models.values())


def _decided(model: Model) -> ModelState:
    return ModelState(model.is_wanted, model.labels, model.skipped)


def _check_present(source: ModelSource, version: int) -> None:
    if version in source.versions:
        return
    has = ", ".join(map(str, sorted(source.versions))) or "none"
    raise not_found(f"model '{source.name}' has no version {version}; there is {has}")


def _check_served(model: Model, versions: set[int], failures: Sequence[Error]) -> None:
    """Errors: why one of the versions is not served."""
    for version in sorted(versions - set(model.ready_versions())):
        if failures:
            raise failures[0]
        raise Error(
            "FAILED_PRECONDITION",
            f"version {version} of model '{model.name}' is not served: {model.reason(version)}",
        )


def _before(model: Model, source: ModelSource) -> int:
    """The version to go back to. Errors: NOT_FOUND."""
    current = model.default_version()
    earlier = [version for version in source.versions if current is None or version < current]
    if not earlier:
        raise not_found(
            f"there is no version of model '{model.name}' before"
            f" {'the one that failed' if current is None else current} to go back to"
        )
    return max(earlier)


def _shown(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{label}={version}" for label, version in sorted(labels.items())) or "none"
