"""What happens next, as a table: TensorFlow Serving's availability-preserving transitions."""

import pytest

from fastserve.config.model_config import VersionPolicy
from fastserve.control.policy import (
    Action,
    Standing,
    Step,
    aspire,
    availability_preserving,
    resource_preserving,
)
from fastserve.control.state import State

WAITING, LOADING, READY, FAILED = State.WAITING, State.LOADING, State.READY, State.FAILED
UNLOADING, RETIRED = State.UNLOADING, State.RETIRED


def standing(version: int, state: State, aspired: str = "aspired") -> Standing:
    return Standing(version, state, is_aspired=bool(aspired), is_stale=aspired == "stale")


def load(version: int) -> Step:
    return Step(Action.LOAD, version)


def retire(version: int) -> Step:
    return Step(Action.RETIRE, version)


def await_end(version: int) -> Step:
    return Step(Action.AWAIT, version)


@pytest.mark.parametrize(
    ("standings", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([(1, WAITING)], load(1), id="the-first-version"),
        pytest.param([(1, WAITING), (2, WAITING)], load(2), id="the-highest-first"),
        pytest.param([(1, WAITING), (2, READY)], load(1), id="then-the-others"),
        pytest.param([(1, READY, ""), (2, WAITING)], load(2), id="the-new-one-before-the-old-goes"),
        pytest.param([(1, READY, ""), (2, LOADING)], None, id="the-old-one-stays-meanwhile"),
        pytest.param([(1, READY, ""), (2, READY)], retire(1), id="the-old-one-goes-when-it-can"),
        pytest.param([(1, READY, ""), (2, FAILED)], None, id="the-old-one-stays-for-a-failed-one"),
        pytest.param([(1, READY, "")], retire(1), id="none-is-aspired"),
        pytest.param([(1, READY, ""), (2, READY, "")], retire(2), id="none-of-several-is-aspired"),
        pytest.param(
            [(1, READY, ""), (2, READY), (3, WAITING)], retire(1), id="one-is-enough-to-let-one-go"
        ),
        pytest.param([(2, READY, ""), (1, WAITING)], load(1), id="back-to-a-lower-version"),
        pytest.param([(1, READY)], None, id="all-is-well"),
        pytest.param([(1, FAILED)], None, id="what-failed-is-not-tried-again"),
        pytest.param([(1, READY, "stale")], load(1), id="one-that-changed"),
        pytest.param([(1, FAILED, "stale")], None, id="a-failed-one-that-changed-was-tried"),
        pytest.param([(1, UNLOADING, ""), (2, WAITING)], load(2), id="nobody-waits-for-the-end"),
        pytest.param([(1, UNLOADING, "stale")], load(1), id="one-that-goes-may-come-back"),
        pytest.param([(1, UNLOADING, ""), (2, READY)], None, id="what-goes-goes-by-itself"),
    ],
)
def test_the_next_step(standings, expected):
    assert availability_preserving([standing(*one) for one in standings]) == expected


# TensorFlow Serving's resource-preserving policy: what has to go is gone before anything comes.
@pytest.mark.parametrize(
    ("standings", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([(1, WAITING), (2, WAITING)], load(2), id="the-highest-first"),
        pytest.param([(1, READY, ""), (2, WAITING)], retire(1), id="the-old-one-goes-first"),
        pytest.param([(1, UNLOADING, ""), (2, WAITING)], await_end(1), id="and-is-waited-for"),
        pytest.param([(1, RETIRED, ""), (2, WAITING)], load(2), id="then-the-new-one-comes"),
        pytest.param([(1, READY, "stale")], retire(1), id="one-that-changed-makes-room-for-itself"),
        pytest.param([(1, RETIRED, "stale")], load(1), id="and-comes-back"),
        pytest.param([(1, RETIRED)], None, id="what-was-retired-and-did-not-change-stays-so"),
        pytest.param([(1, READY, ""), (2, FAILED)], retire(1), id="whatever-became-of-the-other"),
        pytest.param([(1, READY), (2, READY, "")], retire(2), id="one-too-many"),
        pytest.param([(1, READY), (2, LOADING)], None, id="it-loads"),
        pytest.param([(1, READY), (2, READY)], None, id="all-is-well"),
    ],
)
def test_the_next_step_where_memory_is_short(standings, expected):
    assert resource_preserving([standing(*one) for one in standings]) == expected


LATEST, TWO, EVERY = VersionPolicy(), VersionPolicy(latest=2), VersionPolicy(latest=None)
SPECIFIC = VersionPolicy(latest=None, specific=(1, 3, 9))


@pytest.mark.parametrize(
    ("policy", "skipped", "labelled", "chosen", "versions"),
    [
        pytest.param(LATEST, (), (), {4}, {4}, id="the-latest"),
        pytest.param(TWO, (), (), {3, 4}, {3, 4}, id="the-two-latest"),
        pytest.param(EVERY, (), (), {1, 2, 3, 4}, {1, 2, 3, 4}, id="all"),
        pytest.param(SPECIFIC, (), (), {1, 3}, {1, 3}, id="those-that-are-named-and-there"),
        pytest.param(LATEST, (4,), (), {3}, {3}, id="what-was-rolled-back-is-passed-over"),
        pytest.param(TWO, (4,), (), {2, 3}, {2, 3}, id="and-another-takes-its-place"),
        pytest.param(SPECIFIC, (3,), (), {1}, {1}, id="also-where-it-is-named"),
        pytest.param(LATEST, (), (2,), {4}, {2, 4}, id="a-label-keeps-its-version"),
        pytest.param(LATEST, (4,), (4,), {3}, {3, 4}, id="also-one-that-was-rolled-back"),
        pytest.param(LATEST, (), (7,), {4}, {4}, id="but-none-that-is-gone"),
    ],
)
def test_what_should_live(policy, skipped, labelled, chosen, versions):
    aspired = aspire(policy, (1, 2, 3, 4), skipped, labelled)
    assert (aspired.chosen, aspired.versions) == (chosen, versions)


@pytest.mark.parametrize(
    ("served", "default"),
    [
        pytest.param((1, 2, 3, 4), 3, id="the-one-that-the-policy-chose"),
        pytest.param((1, 4), 4, id="else-one-with-a-label"),
        pytest.param((1, 2), 2, id="else-any"),
        pytest.param((), None, id="or-none"),
    ],
)
def test_who_names_no_version_gets(served, default):
    aspired = aspire(LATEST, (1, 2, 3, 4), skipped=(4,), labelled=(4,))
    assert aspired.default_of(served) == default


# Whatever is aspired next, each state leads somewhere, and never below one served version.
@pytest.mark.parametrize("first", [(1,), (1, 2), (3,)])
@pytest.mark.parametrize("second", [(1,), (2,), (1, 2, 3), ()])
@pytest.mark.parametrize("broken", [(), (2,), (3,)])
def test_a_model_is_served_all_the_way(first, second, broken):
    states: dict[int, State] = dict.fromkeys(first, READY)
    states |= {version: WAITING for version in second if version not in states}
    for _ in range(10):
        step = availability_preserving(
            Standing(version, state, is_aspired=version in second)
            for version, state in states.items()
        )
        if step is None:
            break
        if step.action is Action.LOAD:
            states[step.version] = FAILED if step.version in broken else READY
        else:
            del states[step.version]
        assert READY in states.values() or not second
    else:
        pytest.fail("it never ends")
    served = {version for version, state in states.items() if state is READY}
    wanted = {version for version in second if version in first or version not in broken}
    assert served == (wanted or (set(first) if second else set()))
