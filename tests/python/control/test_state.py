"""The table of states is the machine, and its drawing in the README is current."""

import re
from itertools import product
from pathlib import Path

import pytest

from fastserve.control import state
from fastserve.control.state import TRANSITIONS, State, VersionState

README = Path(state.__file__).with_name("README.md")


def diagram():
    """The table as a Mermaid drawing: states without a way out end."""
    lines = ["stateDiagram-v2", "    [*] --> WAITING"]
    for before, after in TRANSITIONS.items():
        lines += [f"    {before} --> {next_state}" for next_state in after or ("[*]",)]
    return "\n".join(lines)


def test_the_drawing_in_the_readme_is_the_table():
    drawn = re.findall(r"```mermaid\n(.*?)\n```", README.read_text(), re.DOTALL)
    assert drawn == [diagram()], f"write into {README.name}:\n{diagram()}"


def test_every_state_is_in_the_table_and_can_be_reached():
    assert set(TRANSITIONS) == set(State)
    reached, waiting = set(), [VersionState("m", 1).state]
    while waiting:
        current = waiting.pop()
        if current not in reached:
            reached.add(current)
            waiting += TRANSITIONS[current]
    assert reached == set(State)


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
def test_only_what_the_table_says_can_happen(before, after):
    version = VersionState("m", 7, before, "old")
    if after in TRANSITIONS[before]:
        assert version.to(after, "why") == VersionState("m", 7, after, "why")
        assert version.state is before  # Replaced whole, never changed.
    else:
        with pytest.raises(AssertionError, match=f"^m 7: {before} cannot become {after}$"):
            version.to(after)


def test_a_reason_does_not_outlive_its_state():
    assert VersionState("m", 1, State.WAITING, "old").to(State.LOADING).reason == ""


def test_an_attempt_ends_with_ready_or_failed():
    attempted = {s for s in State if VersionState("m", 1, s).attempted}
    assert attempted == {State.READY, State.UNLOADING, State.FAILED, State.RETIRED}
