"""Poll mode's look at the repository, without its thread and with a clock of the test's."""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastserve.control.repository.model_repository import ModelRepository
from fastserve.control.source import BACKOFF_MAX_S, PollingSource
from fastserve.errors import Error
from tests.python.control.repository.test_fingerprint import next_step_of_the_clock


class Control:
    """Does at once what it is asked, as the test wants it."""

    def __init__(self) -> None:
        self.applied: list[tuple[str, list[int]]] = []
        self.removed: list[str] = []
        self.failure: Error | None = None

    def apply(self, source: Any) -> Future[None]:
        self.applied.append((source.name, sorted(source.versions)))
        future: Future[None] = Future()
        if self.failure is None:
            future.set_result(None)
        else:
            future.set_exception(self.failure)
        return future

    def remove(self, name: str) -> None:
        self.removed.append(name)

    def asked(self) -> list[tuple[str, list[int]]]:
        """What was applied since the last time."""
        asked, self.applied = self.applied, []
        return asked


class Polled:
    """A repository with one model that was loaded at the start."""

    def __init__(self, path: Any) -> None:
        self.path = path
        self.now_s = 0.0
        self.control = Control()
        self.warnings: list[str] = []
        self.models: dict[str, Any] = {}
        self.put("m", 1)
        self.serve("m", 1)
        self.source = PollingSource(
            ModelRepository((str(path),)),
            cast(Any, SimpleNamespace(models=self.models)),
            cast(Any, self.control),
            interval_s=10,
            on_warning=self.warnings.append,
            clock=lambda: self.now_s,
        )

    def serve(self, name: str, *versions: int) -> None:
        """This is what the manager knows of it."""
        self.models[name] = SimpleNamespace(
            ready_versions=lambda: list(versions), failure=None, attempted=True, outlook=""
        )

    def put(self, name: str, version: int) -> None:
        """Renamed into its place."""
        hidden = self.path / name / f".{version}"
        hidden.mkdir(parents=True)
        (hidden / "model.onnx").write_text("model")
        next_step_of_the_clock(self.path)
        hidden.rename(self.path / name / str(version))

    def look(self, times: int = 1) -> list[tuple[str, list[int]]]:
        for _ in range(times):
            self.source.look()
            # Whatever is read is read before the next look.
            self.source._reading.submit(lambda: None).result(30)
        return self.control.asked()


@pytest.fixture
def polled(tmp_path):
    made = Polled(tmp_path / "models")
    yield made
    made.source.close()


def test_what_was_loaded_at_the_start_is_not_loaded_again(polled):
    assert polled.look(3) == []


def test_what_was_renamed_into_its_place_is_loaded_at_once(polled):
    polled.put("m", 2)
    assert polled.look() == [("m", [1, 2])]
    assert polled.look(3) == []
    polled.put("new", 1)
    assert polled.look() == [("new", [1])]


def test_what_is_copied_is_loaded_when_it_stays_as_it_is(polled):
    (polled.path / "m" / "2").mkdir()
    file = polled.path / "m" / "2" / "model.onnx"
    for part in ("a", "bc", "def"):
        file.write_text(part)
        assert polled.look() == []
    # The same; a checksum; another one; they are the same.
    assert polled.look(2) == []
    assert polled.look(2) == [("m", [1, 2])]


# Written in place, as long and as old as before: its size and time say nothing.
def test_a_file_whose_bytes_still_change_is_not_complete(polled, monkeypatch):
    sums = iter("abcc")
    monkeypatch.setattr("fastserve.control.source.checksum_version", lambda _: next(sums))
    (polled.path / "m" / "2").mkdir()
    (polled.path / "m" / "2" / "model.onnx").write_text("model")
    assert polled.look(5) == []  # a and b: they differ.
    assert polled.look(4) == [("m", [1, 2])]


def test_a_served_version_that_is_being_rewritten_is_left_alone(polled):
    (polled.path / "m" / "1" / "model.onnx").write_text("other")
    polled.put("m", 2)
    assert polled.look() == []
    assert polled.look(4) == [("m", [1, 2])]


def test_a_config_is_applied_when_it_stays_as_it_is(polled):
    (polled.path / "m" / "config.pbtxt").write_text("max_batch_size: 1")
    assert polled.look() == []
    assert polled.look() == [("m", [1])]


def test_a_model_that_is_taken_away_is_removed(polled):
    polled.put("n", 1)
    polled.look()
    shutil.rmtree(polled.path / "m")
    assert polled.look() == []
    assert polled.control.removed == ["m"]


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "empty"])
def test_a_volume_that_is_gone_takes_nothing_with_it(polled, is_gone):
    polled.path.rename(polled.path.with_name("away"))
    if not is_gone:
        polled.path.mkdir()
    polled.look(3)
    assert polled.control.removed == []
    (warning,) = polled.warnings
    assert warning.endswith("; what is served from there goes on")


def test_what_failed_is_tried_later_and_later(polled):
    polled.control.failure = Error("INTERNAL", "it is broken")
    polled.put("m", 2)
    assert polled.look() == [("m", [1, 2])]
    waits = []
    for _ in range(8):
        assert polled.look() == []  # It hears of the failure.
        began_s = polled.now_s
        while not polled.look():
            polled.now_s += 5
        waits.append(polled.now_s - began_s)
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]
    assert BACKOFF_MAX_S == 300
    assert "the next time" in polled.models["m"].outlook
    assert "it is broken" in polled.warnings[0]
    # When somebody mends it, nobody waits.
    polled.control.failure = None
    polled.look()
    polled.put("m", 3)
    assert polled.look() == [("m", [1, 2, 3])]


def test_what_failed_at_the_start_is_tried_again(polled):
    polled.models["m"].failure = Error("INTERNAL", "it is broken")
    assert polled.look(2) == []
    polled.models["m"].failure = None
    polled.now_s += 10
    assert polled.look() == [("m", [1])]


def test_two_models_of_one_name_trouble_nobody_else(tmp_path):
    for place in ("r/a/1", "s/a/1", "s/b/1"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
    control = Control()
    source = PollingSource(
        ModelRepository((str(tmp_path / "r"), str(tmp_path / "s"))),
        cast(Any, SimpleNamespace(models={})), cast(Any, control), 10, print,
    )  # fmt: skip
    for _ in range(6):
        source.look()
        source._reading.submit(lambda: None).result(30)
    source.close()
    assert ("b", [1]) in control.applied
    assert all(versions == [] for name, versions in control.applied if name == "a")
