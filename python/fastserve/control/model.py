"""Model: one model as the manager knows it: its versions' states, and why it has none."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastserve.control.loading.loader import Loaded
from fastserve.control.policy import Aspired
from fastserve.control.repository.fingerprint import Fingerprint
from fastserve.control.repository.model_repository import ModelSource
from fastserve.control.state import State, VersionState
from fastserve.errors import Error


@dataclass
class Model:
    """Threads: written by whoever holds `turn`; read by any, each field as it is at that moment."""

    source: ModelSource
    states: dict[int, VersionState] = field(default_factory=dict)
    loaded: dict[int, Loaded] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    problem: str = ""
    attempted: bool = False
    failure: Error | None = None
    # What whoever looks after it says about a failure: when it is tried again.
    outlook: str = ""
    is_wanted: bool = True  # False: it is known, and loaded only if somebody asks.
    # What people have decided: names of versions, and those that were rolled back.
    labels: Mapping[str, int] = field(default_factory=dict)
    skipped: frozenset[int] = frozenset()
    aspired: Aspired = field(default_factory=Aspired)
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
        """The version that serves requests which name none."""
        return self.aspired.default_of(self.ready_versions())

    def labels_of(self, version: int) -> list[str]:
        return sorted(label for label, number in self.labels.items() if number == version)

    def reason(self, version: int | None = None) -> str:
        """Why it, or the version, is not served."""
        states = dict(self.states)
        if version in states:
            state = states[version]
            return self._with_outlook(state.reason) or f"it is {state.state.lower()}"
        if self.problem:
            return self._with_outlook(self.problem)
        if not self.attempted:
            return "it is loading"
        if version is not None:
            if version in self.skipped:
                return "it was rolled back"
            present = version in self.source.versions
            return "version_policy leaves it out" if present else "there is no such version"
        reasons = [state.reason for state in states.values() if state.reason]
        if reasons:
            return self._with_outlook("; ".join(reasons))
        if any(not state.attempted for state in states.values()):
            return "it is loading"
        return "no version of it is served" if self.is_wanted else "it is not loaded"

    def _with_outlook(self, reason: str) -> str:
        return f"{reason}; {self.outlook}" if reason and self.outlook else reason

    def is_ready(self) -> bool:
        """Whether a version of it is served and none has failed; another one may be loading."""
        states = [state.state for state in list(self.states.values())]
        return State.READY in states and State.FAILED not in states
