"""Every version's way from disk to served: against the real core, with the identity backend."""

import threading
from pathlib import Path

import pytest

from fastserve import _core
from fastserve.config.completion import ModelDefaults
from fastserve.control.loading.loader import Loader
from fastserve.control.manager import Manager
from fastserve.control.model import Model
from fastserve.control.repository.model_repository import ModelSource, discover
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

    def load(self, source, version, config, previous=None):
        self.threads.add(threading.current_thread().name)
        if version in self.failing:
            raise Error("INTERNAL", f"version {version} is broken")
        return super().load(source, version, config, previous)


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
    assert manager.wait_until_gone(30)
    model = manager.models["m"]
    assert states(model) == {1: State.RETIRED}
    assert model.loaded == {}
    assert (model.reason(1), model.reason()) == ("it is retired", "no version of it is served")
    with pytest.raises(_core.CoreError):
        serving_map.retire("m", 1)


def test_retiring_twice_is_retiring_once(repository):
    manager = loaded(repository(m=(IDENTITY, [1])))
    manager.retire_all()
    assert manager.wait_until_gone(30)
    manager.retire_all()
    assert manager.wait_until_gone(30)
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


# -- One by one, while others are served ---------------------------------------------------------


def test_a_model_is_loaded_beside_those_that_are_served(repository):
    manager = loaded([])
    (source,) = repository(m=(IDENTITY, [1, 2]))
    model = manager.load(source, print)
    assert model.ready_versions() == [2]
    assert manager.models == {"m": model}
    assert manager.all_ready()


def test_a_model_may_have_a_loader_of_its_own(repository):
    manager = loaded([], FailingLoader(1))
    (source,) = repository(m=(IDENTITY, [1]))
    assert manager.load(source, print, Loader(ModelDefaults())).ready_versions() == [1]


def test_a_name_that_is_there_is_not_loaded_again(repository):
    sources = repository(m=(IDENTITY, [1]))
    manager = loaded(sources)
    before = manager.models
    with pytest.raises(Error, match="there is a model 'm' already") as told:
        manager.load(sources[0], print)
    assert told.value.code == "ALREADY_EXISTS"
    assert manager.models is before


# The error is the loader's own, code and all.
def test_a_model_that_fails_to_load_was_never_there(repository):
    manager = loaded([], FailingLoader(1))
    (source,) = repository(m=(IDENTITY, [1]))
    with pytest.raises(Error, match=r"^version 1 is broken$") as told:
        manager.load(source, print)
    assert told.value.code == "INTERNAL"
    assert manager.models == {}


def test_a_model_without_versions_is_refused_with_its_reason(repository):
    (source,) = repository(empty=(IDENTITY, []))
    with pytest.raises(Error, match=r"^empty: no version directory in it") as told:
        loaded([]).load(source, print)
    assert told.value.code == "NOT_FOUND"


def test_a_load_that_is_interrupted_leaves_nothing(repository):
    class Interrupted(Loader):
        def load(self, source, version, config, previous=None):
            if version == 2:
                raise KeyboardInterrupt
            return super().load(source, version, config, previous)

    serving_map = _core.ServingMap()
    manager = Manager([], serving_map, Interrupted(ModelDefaults()))
    (source,) = repository(m=(IDENTITY + "version_policy { all { } }", [1, 2]))
    with pytest.raises(KeyboardInterrupt):
        manager.load(source, print)
    assert manager.models == {}
    with pytest.raises(_core.CoreError):
        serving_map.retire("m", 1)


def test_an_unloaded_model_is_forgotten_and_its_name_is_free(repository):
    sources = repository(a=(IDENTITY, [1]), b=(IDENTITY, [1]))
    manager = loaded(sources)
    model = manager.models["a"]
    manager.unload("a")
    assert list(manager.models) == ["b"]
    assert manager.wait_until_gone(30)
    assert states(model) == {1: State.RETIRED}
    assert manager.load(sources[0], print).ready_versions() == [1]


def test_unloading_what_is_not_there_guesses(repository):
    with pytest.raises(Error, match="there is no model 'aa'; did you mean 'a'") as told:
        loaded(repository(a=(IDENTITY, [1]))).unload("aa")
    assert told.value.code == "NOT_FOUND"


def test_a_model_that_loads_is_not_unloaded(repository):
    codes: list[str] = []

    class Unloading(Loader):
        def load(self, source, version, config, previous=None):
            try:
                manager.unload(source.name)
            except Error as error:
                codes.append(error.code)
            return super().load(source, version, config, previous)

    manager = loaded([], Unloading(ModelDefaults()))
    (source,) = repository(m=(IDENTITY, [1]))
    assert manager.load(source, print).ready_versions() == [1]
    assert codes == ["FAILED_PRECONDITION"]


# Whoever walks the table sees one that does not change under its feet.
def test_the_table_of_models_is_replaced_whole(repository):
    sources = repository(a=(IDENTITY, [1]), b=(IDENTITY, [1]))
    manager = loaded(sources[:1])
    before = manager.models
    manager.load(sources[1], print)
    manager.unload("a")
    assert list(before) == ["a"]
    assert list(manager.models) == ["b"]


def test_models_that_nobody_wants_yet_are_only_known(repository):
    sources = repository(a=(IDENTITY, [1]), b=(IDENTITY, [1]))
    loader = Loader(ModelDefaults())
    manager = Manager(sources, _core.ServingMap(), loader, wanted=lambda name: name == "a")
    manager.load_all(lambda _: None)
    assert manager.all_ready()
    assert manager.models["b"].states == {}
    assert manager.models["b"].reason() == "it is not loaded"
