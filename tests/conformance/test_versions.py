"""Labels, roll-backs, configs and files in a request: who is served by which version."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.conformance import made
from tests.conformance.controlled import Controlled, eventually
from tests.served import HOST, Repository, Server

ALL = "version_policy { all { } }"
LOOPS = pytest.mark.parametrize(
    "controlled",
    [(), ("--loops", "2"), ("--loops", "2", "--loop-kind", "thread")],
    ids=["one", "processes", "threads"],
    indirect=True,
)


@pytest.fixture
def controlled(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Controlled]:
    """Serves m, of which versions 1 and 2 are there and the higher one is served."""
    models = Repository(tmp_path / "models")
    models.add_made("m", made.scaled(1))
    models.add_made("m", made.scaled(2), version=2)
    flags = ("--model-control", "explicit", "--load-model", "m", *getattr(request, "param", ()))
    with (
        Server(models.path, *flags, models=["m"]) as server,
        tritonclient.http.InferenceServerClient(server.address, connection_timeout=20) as client,
    ):
        yield Controlled(server, models.path, client)


@LOOPS
def test_labels_move_all_at_once_and_clients_follow(controlled):
    answer = controlled.change("m", "labels", {"labels": {"stable": 1, "canary": 2}})
    assert answer.json == {"name": "m", "labels": {"stable": 1, "canary": 2}}
    # Version 1 lives for its label; who names nothing gets what the policy chose.
    assert controlled.ask(version="stable") == (1, 1)
    assert controlled.ask(version="canary") == (2, 2)
    assert controlled.ask() == controlled.ask(version="-1") == (2, 2)
    assert controlled.client.is_model_ready("m", "stable")
    assert controlled.client.get_model_config("m", "stable")["name"] == "m"
    assert controlled.entry("m", 1)["labels"] == ["stable"]
    assert controlled.entry("m", 2) == {
        "name": "m", "version": "2", "state": "READY", "labels": ["canary"], "default": True,
    }  # fmt: skip
    assert controlled.change("m", "labels", {"labels": {"stable": 2, "canary": None}}).status == 200
    assert controlled.ask(version="stable") == (2, 2)
    with pytest.raises(InferenceServerException, match="its labels are stable"):
        controlled.ask(version="canary")
    eventually(lambda: controlled.index()["m"].get("1") in (None, "UNAVAILABLE"), "the end of 1")


def test_a_new_version_is_the_default_and_labels_stay(controlled):
    controlled.change("m", "labels", {"labels": {"stable": 2}})
    controlled.put("m", 3, made.scaled(3))
    controlled.client.load_model("m")
    assert controlled.ask() == (3, 3)
    assert controlled.ask(version="stable") == (2, 2)


@pytest.mark.parametrize(
    ("labels", "status", "message"),
    [
        ({"stable": 7}, 404, "model 'm' has no version 7; there is 1, 2"),
        ({"3": 1}, 400, "and no number, found '3'"),
        ({"a b": 1}, 400, "expected as label 1 to 64 letters"),
        ({"ok": 1, "stable": 7}, 404, "has no version 7"),
    ],
)
def test_a_label_that_cannot_be_given_changes_nothing(controlled, labels, status, message):
    answer = controlled.change("m", "labels", {"labels": labels})
    assert (answer.status, message in answer.json["error"]) == (status, True), answer
    assert controlled.index()["m"] == {"2": "READY"}
    with pytest.raises(InferenceServerException, match="it has no labels"):
        controlled.ask(version="ok")


def test_a_label_for_a_version_that_is_broken_changes_nothing(controlled):
    controlled.change("m", "labels", {"labels": {"stable": 2}})
    controlled.put("m", 3, b"no model")
    answer = controlled.change("m", "labels", {"labels": {"stable": 3}})
    assert answer.status >= 400
    assert "model 'm' was not labelled: " in answer.json["error"]
    assert controlled.ask(version="stable") == (2, 2)


@LOOPS
def test_a_roll_back_is_served_until_something_newer_comes(controlled):
    answer = controlled.change("m", "rollback")
    assert answer.json == {"name": "m", "version": 1, "skipped": [2]}
    assert controlled.ask() == (1, 1)
    eventually(lambda: controlled.entry("m", 2).get("state") != "UNLOADING", "the end of 2")
    with pytest.raises(InferenceServerException, match=r"unloaded|rolled back|retired"):
        controlled.ask(version="2")
    # A load finds nothing new; what was rolled back is not what somebody wants.
    controlled.client.load_model("m")
    assert controlled.ask() == (1, 1)
    controlled.put("m", 3, made.scaled(3))
    controlled.client.load_model("m")
    assert controlled.ask() == (3, 3)
    answer = controlled.change("m", "rollback", {"version": 2})
    assert answer.json == {"name": "m", "version": 2, "skipped": [3]}
    answer = controlled.change("m", "rollback", {"version": 3})
    assert answer.json == {"name": "m", "version": 3, "skipped": []}
    assert controlled.ask() == (3, 3)


def test_a_roll_back_to_what_is_gone_or_broken_changes_nothing(controlled):
    assert "has no version 7" in controlled.change("m", "rollback", {"version": 7}).json["error"]
    (controlled.repository / "m" / "1" / "model.onnx").write_bytes(b"no model")
    answer = controlled.change("m", "rollback")
    assert "model 'm' was not rolled back: " in answer.json["error"]
    assert controlled.ask() == (2, 2)
    controlled.take_away("m", 1)
    answer = controlled.change("m", "rollback")
    assert "there is no version of model 'm' before 2" in answer.json["error"]
    assert controlled.ask() == (2, 2)


@LOOPS
def test_a_config_and_files_may_come_with_the_request(controlled):
    config = json.dumps({"max_batch_size": 3, "dynamic_batching": {}})
    files = {"file:5/model.onnx": made.scaled(5), "file:4/model.onnx": made.scaled(4)}
    controlled.client.load_model("new", config=config, files=files)
    assert controlled.ask("new") == (5, 5)
    assert controlled.client.get_model_config("new")["max_batch_size"] == 3
    controlled.client.load_model("m", config=json.dumps({"version_policy": {"all": {}}}))
    assert controlled.index()["m"] == {"1": "READY", "2": "READY"}
    # A plain load is the repository's again.
    controlled.client.load_model("m")
    eventually(lambda: controlled.index()["m"] == {"1": "UNAVAILABLE", "2": "READY"}, "the end")
    with pytest.raises(InferenceServerException, match="there is no model 'new'"):
        controlled.client.load_model("new")
    assert controlled.ask("new") == (5, 5)
    controlled.client.unload_model("new")
    assert not controlled.client.is_model_ready("new")


@pytest.mark.parametrize(
    ("config", "files", "message"),
    [
        ("{", None, "config: Failed to parse JSON|config: "),
        ('{"max_batch_sizes": 1}', None, "max_batch_sizes"),
        ('{"max_batch_size": -1}', None, "max_batch_size: expected 0 to"),
        ('{"input": [{"name": "z"}]}', None, "the model has no input 'z'"),
        ("{}", {"file:1/../../x": b""}, "expected file:VERSION/NAME"),
        ("{}", {"file:1/model.onnx": b"no model"}, "model 'm' was not loaded"),
        (None, {"file:1/model.onnx": b""}, "come with its 'config'"),
    ],
)
def test_what_comes_with_a_request_and_is_wrong_changes_nothing(controlled, config, files, message):
    parameters: dict[str, Any] = {"config": config} if config is not None else {}
    for name, content in (files or {}).items():
        parameters[name] = base64.b64encode(content).decode()
    answer = controlled.change("m", "load", {"parameters": parameters})
    assert answer.status >= 400
    assert any(part in answer.json["error"] for part in message.split("|")), answer
    assert controlled.ask() == (2, 2)


# The file that the engine was opened from holds something else by then, as large and as old.
# Whoever opened it again would find no model.
@LOOPS
def test_a_change_of_the_config_alone_keeps_the_engine(controlled):
    file = controlled.repository / "m" / "2" / "model.onnx"
    before = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"\xff" * before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    config = controlled.repository / "m" / "config.pbtxt"
    config.write_text("max_batch_size: 7\ninstance_group { count: 2 }\ndynamic_batching { }\n")
    controlled.client.load_model("m")
    served = controlled.client.get_model_config("m")
    assert (served["max_batch_size"], served["instance_group"][0]["count"]) == (7, 2)
    assert controlled.ask() == (2, 2)
    config.write_text("optimization { graph { level: 2 } }")
    with pytest.raises(InferenceServerException, match="model 'm' was not loaded"):
        controlled.client.load_model("m")
    assert controlled.ask() == (2, 2)


# A client that takes its time must not keep a version that nobody else may use any more.
def test_a_slow_upload_is_answered_by_the_version_that_is_served_when_it_is_there(controlled):
    body = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 1]}]}
    ).encode()
    head = f"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((HOST, controlled.server.port), timeout=30) as connection:
        connection.sendall(head.encode() + body[:20])
        # It has arrived: another request on the same loop was answered after it.
        assert controlled.ask() == (2, 2)
        controlled.put("m", 3, made.scaled(3))
        controlled.client.load_model("m")
        eventually(lambda: controlled.index()["m"].get("2") == "UNAVAILABLE", "the end of 2")
        connection.sendall(body[20:])
        answer = connection.recv(65536).decode()
    assert '"model_version":"3"' in answer


def test_what_changes_can_be_followed(controlled):
    last = controlled.server.request("GET", "/v2/repository/events").json["last"]
    controlled.put("m", 3, made.scaled(3))
    controlled.client.load_model("m")
    seen: list[tuple[str | None, str]] = []

    def is_over() -> bool:
        nonlocal last
        body = controlled.server.request(
            "GET", f"/v2/repository/events?after={last}&timeout=5"
        ).json
        last = body["last"]
        seen.extend((event["version"], event["state"]) for event in body["events"])
        return ("2", "UNAVAILABLE") in seen

    eventually(is_over, "the end of version 2")
    assert [state for version, state in seen if version == "3"] == ["WAITING", "LOADING", "READY"]
    assert [state for version, state in seen if version == "2"] == ["UNLOADING", "UNAVAILABLE"]
