"""Loads on request: one at a time for each model, and none twice for nothing."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastserve.control import model_control
from fastserve.control.model_control import ModelControl
from fastserve.control.repository.model_repository import ModelRepository, ModelSource
from fastserve.errors import Error

TIMEOUT_S = 30


class Manager:
    """Counts, and lets a test hold its loads."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.released: list[str] = []
        self.gate = threading.Event()
        self.failure: Error | None = None

    def apply(self, source: Any, _: Any) -> None:
        assert self.gate.wait(TIMEOUT_S)
        self.applied.append(source.name)
        if self.failure:
            raise self.failure

    def release(self, name: str) -> None:
        self.released.append(name)


@pytest.fixture
def manager():
    return Manager()


@pytest.fixture
def control(manager, tmp_path):
    for name in "abc":
        (tmp_path / name / "1").mkdir(parents=True)
    made = ModelControl(cast(Any, manager), ModelRepository((str(tmp_path),)), lambda _: None)
    yield made
    manager.gate.set()
    made.close()


def test_a_hundred_loads_at_once_are_two(control, manager):
    loads = [control.load("a") for _ in range(100)]
    assert control.is_busy()
    manager.gate.set()
    for load in loads:
        load.result(TIMEOUT_S)
    assert manager.applied == ["a", "a"]
    assert not control.is_busy()


# What was changed after a load has begun must be seen: who asks then gets a load of its own.
def test_a_load_that_is_asked_for_while_one_runs_begins_after_it(control, manager):
    first = control.load("a")
    second = control.load("a")
    assert second is not first
    assert control.load("a") is second
    manager.gate.set()
    second.result(TIMEOUT_S)
    assert first.done()
    assert control.load("a") is not second


def test_models_load_beside_each_other_and_unloads_wait_for_none_of_them(control, manager):
    loads = [control.load("a"), control.load("b")]
    control.unload("c").result(TIMEOUT_S)
    assert manager.released == ["c"]
    manager.gate.set()
    for load in loads:
        load.result(TIMEOUT_S)
    assert sorted(manager.applied) == ["a", "b"]


# Whoever asks for both means the second.
def test_an_unload_comes_after_the_load_of_the_same_model(control, manager):
    load, unload = control.load("a"), control.unload("a")
    again = control.load("a")
    assert manager.released == []
    manager.gate.set()
    for done in (load, unload, again):
        done.result(TIMEOUT_S)
    assert (manager.applied, manager.released) == (["a", "a"], ["a"])


def test_a_load_that_fails_says_why_and_holds_nothing_up(control, manager):
    manager.gate.set()
    with pytest.raises(Error, match=r"there is no model 'aa' in .*; did you mean 'a'"):
        control.load("aa").result(TIMEOUT_S)
    manager.failure = Error("INTERNAL", "it is broken")
    with pytest.raises(Error, match="it is broken"):
        control.load("a").result(TIMEOUT_S)
    manager.failure = None
    control.load("a").result(TIMEOUT_S)


def test_there_is_a_limit_to_what_waits(control, monkeypatch):
    monkeypatch.setattr(model_control, "JOBS_MAX", 3)
    control.load("a")
    control.load("b")
    waiting = control.load("a")
    with pytest.raises(Error, match="3 changes of models wait already"):
        control.load("c")
    assert control.load("a") is waiting


def test_the_end_cancels_what_waits(control):
    control.load("a")
    waiting = control.load("a")
    control.close()
    assert waiting.cancelled()


# In poll mode more may lie there than is complete: a decision is about what was applied.
def test_a_decision_is_about_what_was_seen_to_be_complete(manager, tmp_path):
    for version in ("1", "2"):
        (tmp_path / "a" / version).mkdir(parents=True)
    applied = ModelSource("a", tmp_path / "a", {1: tmp_path / "a" / "1"})
    manager.models = {"a": SimpleNamespace(source=applied)}
    manager.label = lambda source, _changes, _on_warning: sorted(source.versions)
    for is_polled, versions in ((True, [1]), (False, [1, 2])):
        repository = ModelRepository((str(tmp_path),))
        control = ModelControl(cast(Any, manager), repository, print, is_polled=is_polled)
        assert control.label("a", {"x": 1}).result(TIMEOUT_S) == versions
        control.close()
