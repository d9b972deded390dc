"""Transitions between versions: what to do next, from what should live and what lives.

Pure, as TensorFlow Serving's aspired-version policies are: the Manager does one step, looks again,
and asks again. Nothing here knows a file, a thread or an engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fastserve.control.state import State


class Action(StrEnum):
    LOAD = "load"
    RETIRE = "retire"


@dataclass(frozen=True)
class Standing:
    """Where one version stands. `is_stale`: it is served, and its files are others now."""

    version: int
    state: State
    is_aspired: bool
    is_stale: bool = False


@dataclass(frozen=True)
class Step:
    action: Action
    version: int


def availability_preserving(standings: Iterable[Standing]) -> Step | None:
    """The next step that never leaves a model without a version that it has; None: all is done.

    What is no longer aspired goes as soon as one aspired version is served, or at once where none
    is aspired. A version that failed is aspired still, and takes nobody's place.
    """
    known = sorted(standings, key=lambda one: one.version, reverse=True)
    served = [one for one in known if one.state is State.READY]
    aspired = [one for one in known if one.is_aspired]
    if not aspired or any(one.is_aspired for one in served):
        for one in served:
            if not one.is_aspired:
                return Step(Action.RETIRE, one.version)
    for one in aspired:
        if one.state is State.WAITING or (one.state is State.READY and one.is_stale):
            return Step(Action.LOAD, one.version)
    return None
