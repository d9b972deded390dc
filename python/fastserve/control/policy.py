"""What should live of a model, and what to do next to bring it there.

Pure, as TensorFlow Serving's aspired-version policies are: the Manager does one step, looks again,
and asks again. Nothing here knows a file, a thread or an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from fastserve.config.model_config import VersionPolicy
from fastserve.control.state import State


class Action(StrEnum):
    LOAD = "load"
    RETIRE = "retire"
    AWAIT = "await"  # Until the version is gone.


@dataclass(frozen=True)
class Standing:
    """Where one version stands. `is_stale`: its files are others than those that were loaded."""

    version: int
    state: State
    is_aspired: bool
    is_stale: bool = False


@dataclass(frozen=True)
class Step:
    action: Action
    version: int


@dataclass(frozen=True)
class Aspired:
    """`chosen` are the versions that the model's version_policy is for, `versions` all that should
    live: a version with a label lives as long as it has it."""

    chosen: frozenset[int] = frozenset()
    versions: frozenset[int] = frozenset()

    def default_of(self, served: Collection[int]) -> int | None:
        """The version that serves requests which name none: the highest one chosen. A version that
        lives for its label alone, or is on its way out, is asked only when there is no other."""
        for among in (self.chosen, self.versions, frozenset(served)):
            if found := among.intersection(served):
                return max(found)
        return None


def aspire(
    policy: VersionPolicy,
    present: Collection[int],
    skipped: Collection[int] = (),
    labelled: Collection[int] = (),
) -> Aspired:
    """`skipped` are those that a roll-back left behind; a label is stronger than that."""
    chosen = frozenset(policy.choose(tuple(set(present) - set(skipped))))
    return Aspired(chosen, chosen | (set(labelled) & set(present)))


def availability_preserving(standings: Iterable[Standing]) -> Step | None:
    """The next step that never leaves a model without a version that it has; None: all is done.

    What is no longer aspired goes as soon as one aspired version is served, or at once where none
    is aspired. A version that failed is aspired still, and takes nobody's place.
    """
    known = _highest_first(standings)
    served = [one for one in known if one.state is State.READY]
    aspired = [one for one in known if one.is_aspired]
    if not aspired or any(one.is_aspired for one in served):
        for one in served:
            if not one.is_aspired:
                return Step(Action.RETIRE, one.version)
    for one in aspired:
        if _is_to_load(one):
            return Step(Action.LOAD, one.version)
    return None


def resource_preserving(standings: Iterable[Standing]) -> Step | None:
    """The next step that never has a version in memory that is not aspired while another loads.

    For models that do not fit twice: what has to go is gone before its successor comes, and
    meanwhile the model is not served, or by fewer versions.
    """
    known = _highest_first(standings)
    for one in known:
        if one.state is State.READY and (one.is_stale or not one.is_aspired):
            return Step(Action.RETIRE, one.version)
    for one in known:
        if one.state is State.UNLOADING:
            return Step(Action.AWAIT, one.version)
    for one in known:
        if one.is_aspired and _is_to_load(one):
            return Step(Action.LOAD, one.version)
    return None


TransitionPolicy = Callable[[Iterable[Standing]], Step | None]
TRANSITION_POLICIES: dict[str, TransitionPolicy] = {
    "availability": availability_preserving,
    "resource": resource_preserving,
}


def _is_to_load(one: Standing) -> bool:
    """Also what is on its way out, or was: it is another version now, or wanted again."""
    comes_back = one.state in (State.READY, State.UNLOADING, State.RETIRED) and one.is_stale
    return one.state is State.WAITING or comes_back


def _highest_first(standings: Iterable[Standing]) -> list[Standing]:
    return sorted(standings, key=lambda one: one.version, reverse=True)
