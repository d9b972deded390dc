"""A model that is changed while it is served: what is new comes, then what is old goes."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastserve import _core
from fastserve.control.manager import Manager
from fastserve.control.repository.model_repository import ModelRepository
from fastserve.control.state import State
from fastserve.errors import Error
from tests.python.control.test_manager import IDENTITY, FailingLoader, states

TIMEOUT_S = 30


class Served:
    """A repository whose models are changed while they are served."""

    def __init__(self, path, *failing):
        self.path = path
        self.map = _core.ServingMap()
        self.loader = FailingLoader(*failing)
        self.manager = Manager((), self.map, self.loader)
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
