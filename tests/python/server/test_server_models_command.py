"""fastserve models against a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.python.server.conftest import CLEAN, MODELS, Running, command, until


@pytest.fixture
def repository(tmp_path):
    """A model with two versions, and one that nobody has loaded."""
    for place in ("m/1", "m/2", "other/1"):
        folder = tmp_path / "models" / place
        folder.mkdir(parents=True)
        shutil.copyfile(MODELS / "add_mul.onnx", folder / "model.onnx")
    return tmp_path / "models"


@pytest.fixture
def server(start, repository) -> Running:
    running: Running = start(repository, "--model-control", "explicit", "--load-model", "m")
    return running.await_ready()


@pytest.fixture
def models(server, fastserve):
    """Runs `fastserve models` on the server."""
    return lambda *arguments: fastserve("models", *arguments, "--url", f"127.0.0.1:{server.port}")


def test_models_are_listed_loaded_and_unloaded(models):
    listed = models("list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.splitlines() == [
        "MODEL  VERSION  STATE       LABELS  REASON",
        "m      2 *      READY       -",
        "other  -        not loaded  -",
    ]
    loaded = models("load", "other", "--json")
    assert json.loads(loaded.stdout) == [
        {"name": "other", "version": "1", "state": "READY", "default": True}
    ]
    assert models("unload", "other").returncode == 0
    assert models("unload", "other", "m", "--dependents").returncode == 0
    assert "READY" not in models("list").stdout


def test_what_fails_is_told_and_the_others_are_done(models, repository):
    (repository / "m" / "2" / "model.onnx").write_bytes(b"no model")
    done = models("load", "m", "gone", "other")
    assert done.returncode == 1
    assert "model 'm' was not loaded: " in done.stderr
    assert "there is no model 'gone'" in done.stderr
    assert "other  1 *      READY" in done.stdout
    assert models("list", "othr").stderr == (
        "error: there is no model 'othr'; did you mean 'other'?\n"
    )


def test_labels_and_roll_backs(models):
    assert models("label", "m", "stable=1", "new=2").stdout == "m: new=2, stable=1\n"
    assert models("label", "m", "new=").stdout == "m: stable=1\n"
    assert models("rollback", "m").stdout == (
        "m: version 1 is served; skipped until something newer comes: 2\n"
    )
    assert models("rollback", "m", "--to", "2").stdout == "m: version 2 is served\n"
    failed = models("label", "m", "stable=9")
    assert failed.returncode == 1
    assert "model 'm' has no version 9; there is 1, 2" in failed.stderr


def test_a_config_and_files_are_sent_along(models, server, tmp_path):
    config = tmp_path / "config.pbtxt"
    config.write_text("version_policy { all { } }")
    done = models("load", "m", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("READY") == 2
    file = f"7/model.onnx={MODELS / 'add_mul.onnx'}"
    done = models("load", "sent", "--config", str(config), "--file", file)
    assert "sent   7 *      READY" in done.stdout.replace("sent     ", "sent   "), done
    assert server.get("/v2/models/sent/versions/7/ready").status == 200


def test_a_server_that_allows_nothing_says_what_it_needs(start, repository, fastserve):
    server = start(repository).await_ready()
    done = fastserve("models", "load", "m", "--url", f"127.0.0.1:{server.port}")
    assert done.returncode == 1
    assert "it needs --model-control explicit, and the server was started with none" in done.stderr


def test_what_changes_is_followed(models, server):
    watching = subprocess.Popen(
        command("models", "watch", "m", "--json", "--url", f"127.0.0.1:{server.port}"),
        env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert watching.stdout is not None

        def is_watched() -> bool:
            """It asks for what comes after some moment, which need not have begun yet."""
            models("label", "m", "a=2")
            return server.log().count("was labelled") > 3

        until(is_watched, "labels")
        event = json.loads(watching.stdout.readline())
        assert (event["name"], event["state"]) == ("m", "LABELS")
    finally:
        watching.send_signal(2)
        watching.communicate(timeout=30)
    assert watching.returncode in (130, -2), sys.platform


# What the server waits for must fit into what the command waits for.
def test_who_watches_a_quiet_server_goes_on_watching(server):
    watching = subprocess.Popen(
        command("models", "watch", "--timeout", "400ms", "--url", f"127.0.0.1:{server.port}"),
        env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            watching.communicate(timeout=3)
    finally:
        watching.kill()
        watching.communicate(timeout=30)
