"""Poll mode: what is put there, changed or taken away is seen, once it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.http

from tests.conformance import made
from tests.conformance.controlled import Controlled, eventually
from tests.served import Repository, Server


@pytest.fixture
def polled(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Controlled]:
    models = Repository(tmp_path / "models")
    models.add_made("m", made.scaled(1))
    models.add_made("other", made.scaled(1))
    flags = ("--model-control", "poll", "--poll-interval", "100ms", *getattr(request, "param", ()))
    with (
        Server(models.path, *flags, models=["m", "other"]) as server,
        tritonclient.http.InferenceServerClient(server.address, connection_timeout=20) as client,
    ):
        yield Controlled(server, models.path, client)


@pytest.mark.parametrize("polled", [(), ("--loops", "2")], ids=["one", "two"], indirect=True)
def test_versions_and_models_come_and_go(polled):
    polled.put("m", 2, made.scaled(2))
    eventually(lambda: polled.ask() == (2, 2), "version 2")
    polled.put("late", 1, made.scaled(1))
    eventually(lambda: polled.index().get("late") == {"1": "READY"}, "a new model")
    shutil.rmtree(polled.repository / "other")
    eventually(lambda: "other" not in polled.index(), "the end of a model")
    polled.take_away("m", 2)
    eventually(lambda: polled.ask() == (1, 1), "version 1, when 2 was taken away")


def test_a_config_that_is_changed_is_applied(polled):
    (polled.repository / "m" / "config.pbtxt").write_text("max_batch_size: 7")
    eventually(lambda: polled.client.get_model_config("m")["max_batch_size"] == 7, "the new config")


# Copying a file takes as long as it takes: what is there of it is not to be loaded.
def test_a_version_that_is_being_copied_is_not_touched(polled):
    content = made.scaled(2)
    target = polled.repository / "m" / "2"
    target.mkdir()
    with (target / "model.onnx").open("wb", buffering=0) as file:
        for start in range(0, len(content), 16):
            file.write(content[start : start + 16])
            os.fsync(file.fileno())
            assert polled.ask() == (1, 1)
    eventually(lambda: polled.ask() == (2, 2), "version 2, when it was complete")
    assert "was not loaded" not in polled.server.log_text()


def test_one_bad_model_troubles_nobody_and_is_tried_again_when_it_is_mended(polled):
    polled.put("m", 2, b"no model")
    eventually(lambda: polled.entry("m", 2).get("state") == "UNAVAILABLE", "the failure")
    eventually(lambda: "the next time" in polled.entry("m", 2)["reason"], "the outlook")
    assert "or when its files change" in polled.entry("m", 2)["reason"]
    assert "model 'm' was not loaded: " in polled.server.log_text()
    assert polled.ask() == (1, 1)
    polled.put("other", 2, made.scaled(2))
    eventually(lambda: polled.ask("other") == (2, 2), "the version of another model")
    mended = polled.repository / "m" / "mended"
    mended.write_bytes(made.scaled(2))
    mended.rename(polled.repository / "m" / "2" / "model.onnx")
    eventually(lambda: polled.ask() == (2, 2), "the mended version")
    assert "reason" not in polled.entry("m", 2)


def test_a_repository_that_vanishes_takes_nothing_with_it(polled):
    away = polled.repository.with_name("away")
    polled.repository.rename(away)
    eventually(lambda: "what is served from there goes on" in polled.server.log_text(), "a warning")
    assert polled.ask() == (1, 1)
    polled.repository.mkdir()
    eventually(lambda: "no models in it any more" in polled.server.log_text(), "a second warning")
    assert polled.index() == {"m": {"1": "READY"}, "other": {"1": "READY"}}
    polled.repository.rmdir()
    away.rename(polled.repository)
    polled.put("m", 2, made.scaled(2))
    eventually(lambda: polled.ask() == (2, 2), "version 2, when it was back")


def test_a_roll_back_holds_against_what_lies_there(polled):
    polled.put("m", 2, made.scaled(2))
    eventually(lambda: polled.ask() == (2, 2), "version 2")
    assert polled.change("m", "rollback").json == {"name": "m", "version": 1, "skipped": [2]}
    polled.put("other", 2, made.scaled(2))
    eventually(lambda: polled.ask("other") == (2, 2), "the version of another model")
    assert polled.ask() == (1, 1)
    answer = polled.change("m", "load")
    assert "it needs --model-control explicit" in answer.json["error"]


def test_what_was_decided_survives_a_restart(tmp_path):
    models = Repository(tmp_path / "models")
    for version in (1, 2, 3):
        models.add_made("m", made.scaled(version), version=version)
    models.add_made("n", made.scaled(1))
    flags = ("--model-control", "explicit", "--state-file", str(tmp_path / "state.json"))

    def serve(*more: str, wanted: list[str]) -> Iterator[Controlled]:
        with (
            Server(models.path, *flags, *more, models=wanted) as server,
            tritonclient.http.InferenceServerClient(server.address) as client,
        ):
            yield Controlled(server, models.path, client)

    for first in serve("--load-model", "n", wanted=["n"]):
        first.client.load_model("m")
        first.client.unload_model("n")
        assert first.change("m", "labels", {"labels": {"old": 1}}).status == 200
        assert first.change("m", "rollback").status == 200
        assert (first.ask(), first.ask(version="old")) == ((2, 2), (1, 1))
    for second in serve("--load-model", "n", wanted=["m"]):
        assert (second.ask(), second.ask(version="old")) == ((2, 2), (1, 1))
        assert second.index()["n"] == {}
