"""Every version's way from disk to served: against the real core, with the identity backend."""

import threading
from pathlib import Path

import pytest

from fastserve import _core
from fastserve.config.completion import ModelDefaults
from fastserve.control.loader import Loader
from fastserve.control.manager import Manager, Model
from fastserve.control.repository import ModelSource, discover
from fastserve.control.state import State
from fastserve.errors import Error

IDENTITY = """
backend: "identity"
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
"""


@pytest.fixture
def repository(tmp_path):
    """Writes models: name -> (config, versions), and gives what lies there."""

    def write(**models):
        for name, (config, versions) in models.items():
            for version in versions:
                (tmp_path / name / str(version)).mkdir(parents=True)
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "config.pbtxt").write_text(config)
        return discover([str(tmp_path)])

    return write


class FailingLoader(Loader):
    """The real loader, but for the versions that a test lets fail."""

    def __init__(self, *failing):
        super().__init__(ModelDefaults())
        self.failing = failing
        self.threads = set()

    def load(self, source, version, config):
        self.threads.add(threading.current_thread().name)
        if version in self.failing:
            raise Error("INTERNAL", f"version {version} is broken")
        return super().load(source, version, config)


def loaded(sources, loader=None, warnings=None):
    manager = Manager(sources, _core.ServingMap(), loader or Loader(ModelDefaults()))
    manager.load_all([].append if warnings is None else warnings.append)
    return manager


def states(model):
    return {version: state.state for version, state in model.states.items()}


def test_before_loading_nothing_is_settled(repository):
    manager = Manager(repository(m=(IDENTITY, [1])), _core.ServingMap(), Loader(ModelDefaults()))
    assert not manager.is_settled()
    assert not manager.all_ready()
    assert not manager.any_ready()
    assert manager.models["m"].reason() == "it is loading"
    assert manager.models["m"].default_version() is None


def test_the_highest_version_is_served_when_nothing_is_said(repository):
    model = loaded(repository(m=(IDENTITY, [1, 2, 10]))).models["m"]
    assert states(model) == {10: State.READY}
    assert model.default_version() == 10
    assert model.loaded[10].name == "m"


def test_every_model_of_a_repository_is_served(repository):
    manager = loaded(repository(a=(IDENTITY, [1]), b=(IDENTITY, [2]), c=(IDENTITY, [3])))
    assert manager.is_settled()
    assert manager.all_ready()
    assert [m.ready_versions() for m in manager.models.values()] == [[1], [2], [3]]


def test_a_policy_serves_several_versions(repository):
    config = IDENTITY + "version_policy { all { } }"
    model = loaded(repository(m=(config, [1, 2]))).models["m"]
    assert model.ready_versions() == [1, 2]
    assert model.default_version() == 2


# One broken version, or one broken config, is no reason to serve nothing.
def test_a_version_that_fails_does_not_stop_the_others(repository):
    config = IDENTITY + "version_policy { all { } }"
    manager = loaded(repository(m=(config, [1, 2, 3])), FailingLoader(2))
    model = manager.models["m"]
    assert states(model) == {1: State.READY, 2: State.FAILED, 3: State.READY}
    assert model.reason(2) == "version 2 is broken"
    assert manager.is_settled()
    assert manager.any_ready()
    assert not manager.all_ready()


def test_a_model_whose_config_is_wrong_does_not_stop_the_others(repository):
    manager = loaded(repository(bad=("backnd: 'x'", [1]), good=(IDENTITY, [1])))
    assert manager.models["bad"].problem == (
        "bad/config.pbtxt:1: unknown field 'backnd'; did you mean 'backend'?"
    )
    assert manager.models["bad"].reason() == manager.models["bad"].reason(1)
    assert manager.models["good"].ready_versions() == [1]
    assert (manager.is_settled(), manager.any_ready(), manager.all_ready()) == (True, True, False)


def test_a_model_without_versions_says_so(repository):
    manager = loaded(repository(empty=(IDENTITY, [])))
    assert manager.models["empty"].reason().startswith("empty: no version directory in it")
    assert not manager.any_ready()


def test_a_version_that_the_policy_asks_for_and_nobody_has_is_failed(repository):
    config = IDENTITY + "version_policy { specific { versions: [ 1, 7 ] } }"
    model = loaded(repository(m=(config, [1, 2]))).models["m"]
    assert states(model) == {7: State.FAILED, 1: State.READY}
    assert model.reason(7) == ("m/7: no such version directory, though version_policy asks for it")


def test_a_version_that_is_not_served_says_why(repository):
    model = loaded(repository(m=(IDENTITY, [1, 2]))).models["m"]
    assert model.reason(1) == "version_policy leaves it out"
    assert model.reason(9) == "there is no such version"


def test_reasons_of_all_versions_are_given_for_the_model(repository):
    config = IDENTITY + "version_policy { all { } }"
    model = loaded(repository(m=(config, [1, 2])), FailingLoader(1, 2)).models["m"]
    assert model.reason() == "version 1 is broken; version 2 is broken"


def test_warnings_are_told_and_kept(repository):
    warnings: list[str] = []
    config = (
        IDENTITY + "metric_tags { key: 'a' value: 'b' }\nmax_batch_size: 1 dynamic_batching { }"
    )
    model = loaded(repository(m=(config, [1])), warnings=warnings).models["m"]
    assert [warning.partition(": ")[2].split()[0] for warning in warnings] == [
        "metric_tags",
        "dynamic_batching",
    ]
    assert model.warnings == (warnings[0],)


def test_retiring_unpublishes_everything(repository):
    serving_map = _core.ServingMap()
    manager = Manager(repository(m=(IDENTITY, [1])), serving_map, Loader(ModelDefaults()))
    manager.load_all(print)
    manager.retire_all()
    model = manager.models["m"]
    assert states(model) == {1: State.RETIRED}
    assert model.loaded == {}
    assert (model.reason(1), model.reason()) == ("it is retired", "no version of it is served")
    with pytest.raises(_core.CoreError):
        serving_map.retire("m", 1)


def test_retiring_twice_is_retiring_once(repository):
    manager = loaded(repository(m=(IDENTITY, [1])))
    manager.retire_all()
    manager.retire_all()
    assert not manager.any_ready()


def test_one_model_is_loaded_on_the_caller_s_thread(repository):
    loader = FailingLoader()
    loaded(repository(m=(IDENTITY, [1])), loader)
    assert loader.threads == {threading.current_thread().name}


def test_several_models_are_loaded_on_loader_threads(repository):
    loader = FailingLoader()
    loaded(repository(a=(IDENTITY, [1]), b=(IDENTITY, [1])), loader)
    assert all(name.startswith("load") for name in loader.threads)


def test_a_model_of_which_nothing_is_known_is_loading():
    assert Model(ModelSource("m", Path("m"))).reason(3) == "it is loading"
