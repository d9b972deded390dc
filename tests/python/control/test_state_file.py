"""What was decided survives a restart, whole or not at all."""

import json
import os

import pytest

from fastserve.control.state_file import ModelState, StateFile
from fastserve.errors import Error

STATE = {
    "digits": ModelState(True, {"stable": 2, "canary": 3}, frozenset({4})),
    "other": ModelState(),
}


def test_what_is_written_is_read(tmp_path):
    file = StateFile(str(tmp_path / "state.json"))
    assert file.read() == {}
    file.write(STATE)
    assert file.read() == STATE
    file.write({})
    assert file.read() == {}
    assert os.listdir(tmp_path) == ["state.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "remove it to start without it"),
        ("[]", 'expected {"fastserve_state": 1'),
        ({"fastserve_state": 2, "models": {}}, 'expected {"fastserve_state": 1'),
        ({"fastserve_state": 1}, "models: expected dict, found NoneType"),
        ({"fastserve_state": 1, "models": {"m": 1}}, "m: expected dict, found int"),
        ({"fastserve_state": 1, "models": {"m": {"labels": []}}}, "m: labels: expected dict"),
        ({"fastserve_state": 1, "models": {"m": {"labels": {"a": "1"}}}}, "expected versions"),
        ({"fastserve_state": 1, "models": {"m": {"skipped": [True]}}}, "expected versions"),
        ({"fastserve_state": 1, "models": {"m": {"skipped": [0]}}}, "expected versions, found 0"),
        ({"fastserve_state": 1, "models": {"m": {"loaded": 1}}}, "m: loaded: expected bool"),
    ],
)
def test_a_damaged_file_is_no_reason_to_forget(tmp_path, content, message):
    path = tmp_path / "state.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(Error) as told:
        StateFile(str(path)).read()
    assert message in told.value.message
    assert str(path) in told.value.message


def test_a_place_where_it_cannot_be_written_is_refused_at_the_start(tmp_path):
    with pytest.raises(Error, match="there is no directory"):
        StateFile(str(tmp_path / "gone" / "state.json")).read()
    with pytest.raises(Error, match="Is a directory"):
        StateFile(str(tmp_path)).read()


def test_a_write_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    file = StateFile(str(tmp_path / "state.json"))
    file.write(STATE)

    def is_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", is_full)
    with pytest.raises(Error, match=r"state\.json: No space left on device"):
        file.write({})
    assert file.read() == STATE
    assert os.listdir(tmp_path) == ["state.json"]
