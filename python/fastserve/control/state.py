"""The life of one version of a model, as a table: everything that changes a state is here.

here        TensorFlow Serving   Triton's index
WAITING     START                LOADING
LOADING     LOADING              LOADING
READY       AVAILABLE            READY
UNLOADING   UNLOADING            UNLOADING
RETIRED     END                  UNAVAILABLE, "unloaded"
FAILED      END, with an error   UNAVAILABLE, with the reason
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    WAITING = "WAITING"
    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    FAILED = "FAILED"
    RETIRED = "RETIRED"


TRANSITIONS: dict[State, tuple[State, ...]] = {
    State.WAITING: (State.LOADING, State.FAILED),
    State.LOADING: (State.READY, State.FAILED),
    State.READY: (State.UNLOADING,),
    State.UNLOADING: (State.RETIRED,),
    State.FAILED: (),
    State.RETIRED: (),
}


@dataclass(frozen=True)
class VersionState:
    """`reason` says why a version is not served; it is empty while nothing is wrong."""

    name: str
    version: int
    state: State = State.WAITING
    reason: str = ""

    @property
    def attempted(self) -> bool:
        """Whether the first attempt to load it has ended, one way or the other."""
        return self.state not in (State.WAITING, State.LOADING)

    def to(self, state: State, reason: str = "") -> VersionState:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.name} {self.version}: {self.state} cannot become {state}")
        return replace(self, state=state, reason=reason)
