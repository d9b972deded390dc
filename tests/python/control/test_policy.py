"""What happens next, as a table: TensorFlow Serving's availability-preserving transitions."""

import pytest

from fastserve.control.policy import Action, Standing, Step, availability_preserving
from fastserve.control.state import State

WAITING, LOADING, READY, FAILED = State.WAITING, State.LOADING, State.READY, State.FAILED


def standing(version: int, state: State, aspired: str = "aspired") -> Standing:
    return Standing(version, state, is_aspired=bool(aspired), is_stale=aspired == "stale")


def load(version: int) -> Step:
    return Step(Action.LOAD, version)


def retire(version: int) -> Step:
    return Step(Action.RETIRE, version)


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
    ],
)
def test_the_next_step(standings, expected):
    assert availability_preserving([standing(*one) for one in standings]) == expected


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
