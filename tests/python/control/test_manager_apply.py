"""A model that is changed while it is served: what is new comes, then what is old goes."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastserve import _core
from fastserve.control.manager import Manager
from fastserve.control.policy import availability_preserving, resource_preserving
from fastserve.control.repository.model_repository import ModelRepository
from fastserve.control.state import State
from fastserve.control.state_file import ModelState
from fastserve.errors import Error
from tests.python.control.test_manager import IDENTITY, FailingLoader, states

TIMEOUT_S = 30


class Served:
    """A repository whose models are changed while they are served."""

    def __init__(self, path, *failing, policy=availability_preserving, remembered=None):
        self.path = path
        self.map = _core.ServingMap()
        self.loader = FailingLoader(*failing)
        self.manager = Manager(
            (), self.map, self.loader, policy=policy, remembered=remembered or {}
        )
        self.warnings = []

    def write(self, *versions, config=IDENTITY):
        """The model m has these versions from now on."""
        folder = self.path / "m"
        shutil.rmtree(folder, ignore_errors=True)
        for version in versions:
            (folder / str(version)).mkdir(parents=True)
        folder.mkdir(exist_ok=True)
        (folder / "config.pbtxt").write_text(config)

    def source(self):
        return ModelRepository((str(self.path),)).find("m")

    def apply(self):
        model = self.manager.apply(self.source(), self.warnings.append)
        assert self.manager.wait_until_gone(TIMEOUT_S)
        return model


@pytest.fixture
def served(tmp_path):
    return Served(tmp_path)


def test_a_new_version_takes_the_place_of_the_old_one(served):
    served.write(1)
    assert served.apply().ready_versions() == [1]
    served.write(1, 2)
    model = served.apply()
    assert states(model) == {1: State.RETIRED, 2: State.READY}
    assert sorted(model.loaded) == [2]


def test_what_did_not_change_is_not_loaded_again(served):
    served.write(1)
    first = served.apply().loaded[1]
    assert served.apply().loaded[1] is first
    served.write(1, config=IDENTITY + "max_batch_size: 4")
    second = served.apply().loaded[1]
    assert second is not first
    assert second.served.max_batch_size == 4


def test_a_new_version_that_fails_leaves_the_old_one(tmp_path):
    served = Served(tmp_path, 2)
    served.write(1)
    served.apply()
    served.write(1, 2)
    with pytest.raises(Error, match="version 2 is broken"):
        served.apply()
    model = served.manager.models["m"]
    assert states(model) == {1: State.READY, 2: State.FAILED}
    assert model.default_version() == 1
    # Somebody mended it.
    served.loader.failing = ()
    assert states(served.apply()) == {1: State.RETIRED, 2: State.READY}


def test_a_served_version_whose_new_files_fail_goes_on(served):
    served.write(1)
    first = served.apply().loaded[1]
    served.write(1, config=IDENTITY + "max_batch_size: 4")
    served.loader.failing = (1,)
    with pytest.raises(Error, match="version 1 is broken"):
        served.apply()
    model = served.manager.models["m"]
    assert states(model) == {1: State.READY}
    assert model.loaded[1] is first


@pytest.mark.parametrize(
    ("config", "versions", "message"),
    [
        ("backnd: 'x'", [1, 2], "unknown field 'backnd'"),
        (IDENTITY, [], "no version directory"),
        (IDENTITY + "version_policy { specific { versions: 7 } }", [1], "m/7: no such version"),
    ],
)
def test_what_cannot_be_served_leaves_what_is(served, config, versions, message):
    served.write(1)
    served.apply()
    served.write(*versions, config=config)
    with pytest.raises(Error, match=message):
        served.apply()
    assert served.manager.models["m"].default_version() == 1


def test_a_model_that_was_never_served_says_why_until_it_is(served):
    served.write(config=IDENTITY)
    with pytest.raises(Error, match="no version directory"):
        served.apply()
    model = served.manager.models["m"]
    assert model.reason().startswith("m: no version directory")
    served.write(3)
    served.apply()
    assert (model.reason(), model.ready_versions()) == ("no version of it is served", [3])


def test_what_is_released_is_still_known_and_may_come_back(served):
    served.write(1, 2, config=IDENTITY + "version_policy { all { } }")
    served.apply()
    served.manager.release("m")
    assert served.manager.wait_until_gone(TIMEOUT_S)
    model = served.manager.models["m"]
    assert states(model) == {1: State.RETIRED, 2: State.RETIRED}
    assert (model.loaded, model.reason()) == ({}, "it is not loaded")
    assert served.manager.all_ready()
    with pytest.raises(_core.CoreError):
        served.map.retire("m", 1)
    assert served.apply().ready_versions() == [1, 2]
    with pytest.raises(Error, match="there is no model 'mm'; did you mean 'm'"):
        served.manager.release("mm")


# A load changes nothing that another one reads half.
def test_loads_of_one_model_at_once_take_turns(served):
    served.write(1)
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: served.apply(), range(40)))
    assert all(model is models[0] for model in models)
    assert len(served.loader.threads) == 1


# -- Where memory is short ---------------------------------------------------------------------


def test_an_old_version_is_gone_before_its_successor_comes(tmp_path, monkeypatch):
    served = Served(tmp_path, policy=resource_preserving)
    served.write(1)
    served.apply()
    seen = []
    original = served.loader.load

    def load(source, version, config, previous=None):
        seen.append((version, states(served.manager.models["m"]), previous))
        return original(source, version, config, previous)

    monkeypatch.setattr(served.loader, "load", load)
    served.write(1, 2)
    assert states(served.apply()) == {1: State.RETIRED, 2: State.READY}
    assert seen == [(2, {1: State.RETIRED, 2: State.LOADING}, None)]


def test_a_version_that_changed_makes_room_for_itself(tmp_path):
    served = Served(tmp_path, policy=resource_preserving)
    served.write(1)
    served.apply()
    served.write(1, config=IDENTITY + "max_batch_size: 4")
    model = served.apply()
    assert states(model) == {1: State.READY}
    assert model.loaded[1].served.max_batch_size == 4
    # What fails is gone then: that is the price.
    served.loader.failing = (1,)
    served.write(1, config=IDENTITY)
    with pytest.raises(Error, match="version 1 is broken"):
        served.apply()
    assert states(model) == {1: State.FAILED}


# -- What goes wrong on disk -------------------------------------------------------------------


def test_a_version_that_vanishes_while_it_is_loaded_leaves_the_old_one(tmp_path, monkeypatch):
    served = Served(tmp_path)
    served.write(1)
    served.apply()
    served.write(1, 2, config="")  # An ONNX model, whose file is looked for.
    original = served.loader.load

    def load(source, version, config, previous=None):
        shutil.rmtree(source.versions[version])
        return original(source, version, config, previous)

    monkeypatch.setattr(served.loader, "load", load)
    with pytest.raises(Error, match="m/2"):
        served.apply()
    model = served.manager.models["m"]
    assert states(model)[2] is State.FAILED
    assert model.default_version() == 1


def test_times_of_another_age_are_times_like_any_other(served):
    served.write(1)
    served.apply()
    first = served.manager.models["m"].loaded[1]
    for seconds in (0, 1, 2**33):
        os.utime(served.path / "m" / "config.pbtxt", (seconds, seconds))
        assert served.apply().loaded[1] is not first
        first = served.manager.models["m"].loaded[1]
        assert served.apply().loaded[1] is first


# -- What people decide ------------------------------------------------------------------------


def test_labels_and_skips_are_remembered_and_found_again(tmp_path):
    remembered = {"m": ModelState(True, {"old": 1}, frozenset({3})), "gone": ModelState(False)}
    served = Served(tmp_path, remembered=remembered)
    served.write(1, 2, 3)
    model = served.apply()
    assert model.ready_versions() == [1, 2]
    assert (model.default_version(), model.labels_of(1)) == (2, ["old"])
    assert served.manager.decisions() == remembered
    served.manager.roll_back(served.source(), 1, served.warnings.append)
    assert served.manager.decisions()["m"].skipped == {2, 3}


def test_a_model_that_is_not_loaded_has_nothing_to_decide(served):
    served.write(1)
    served.apply()
    served.manager.release("m")
    with pytest.raises(Error, match="model 'm' is not loaded; load it first"):
        served.manager.label(served.source(), {"a": 1}, print)
    with pytest.raises(Error, match="model 'm' is not loaded; load it first"):
        served.manager.roll_back(served.source(), None, print)


def test_a_roll_back_that_the_policy_leaves_out_is_refused(served):
    served.write(1, 2, config=IDENTITY + "version_policy { specific { versions: 2 } }")
    served.apply()
    with pytest.raises(Error, match="version 1 of model 'm' is left out by its version_policy"):
        served.manager.roll_back(served.source(), None, served.warnings.append)
    model = served.manager.models["m"]
    assert (model.ready_versions(), model.skipped) == ([2], frozenset())


def test_what_was_decided_holds_again_when_a_model_comes_back(served):
    served.write(1, 2)
    served.apply()
    served.manager.label(served.source(), {"old": 1}, served.warnings.append)
    served.manager.release("m")
    served.manager.forget("m")
    assert served.manager.decisions()["m"].labels == {"old": 1}
    assert served.apply().labels_of(1) == ["old"]


def test_a_model_has_only_so_many_labels(served):
    served.write(1)
    served.apply()
    served.manager.label(served.source(), {f"l{i}": 1 for i in range(100)}, print)
    with pytest.raises(Error, match="expected at most 100 labels of a model, found 101"):
        served.manager.label(served.source(), {"more": 1}, print)
    moved = {"more": 1, "l0": None}
    assert len(served.manager.label(served.source(), moved, print)) == 100
