"""/v2/repository: the index, and what a load or an unload is answered with."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastserve.control.events import EventLog
from fastserve.control.policy import Aspired
from fastserve.control.state import State
from fastserve.errors import Error
from fastserve.server.routes.repository import RepositoryRoutes
from fastserve.server.routes.responses import Response
from tests.python.server.routes.test_router import BROKEN, READY, model

MODELS = (
    model("b", {1: (State.RETIRED, ""), 2: READY, 3: (State.LOADING, "")}),
    model("a", {1: BROKEN}),
    model("c", {}),
    model("d", {}, problem="d/config.pbtxt:1: no"),
)


@dataclass
class Control:
    """Does what the test says, and remembers what it was asked."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    failure: BaseException | None = None
    result: Any = None

    def load(self, name: str, given: Any = None) -> Future[Any]:
        return self._ask("load", name, given)

    def unload(self, name: str) -> Future[Any]:
        return self._ask("unload", name)

    def label(self, name: str, changes: Any) -> Future[Any]:
        return self._ask("label", name, changes)

    def roll_back(self, name: str, version: Any) -> Future[Any]:
        return self._ask("roll back", name, version)

    def refresh(self) -> None:
        self.asked.append(("refresh",))

    def _ask(self, *asked: Any) -> Future[Any]:
        self.asked.append(asked)
        future: Future[Any] = Future()
        if self.failure is None:
            future.set_result(self.result)
        else:
            future.set_exception(self.failure)
        return future


def ask(
    path: str, body: Any = None, control: Control | None = None, mode: str = "explicit"
) -> Response:
    """The one answer to a POST."""
    manager = SimpleNamespace(models={made.name: made for made in MODELS}, events=EventLog())
    routes = RepositoryRoutes(
        cast(Any, manager), cast(Any, control), mode if control is not None else "none"
    )
    assert routes.verb(path) == "POST"
    text = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    answers: list[Response] = []

    async def run() -> None:
        routes.render(cast(Any, SimpleNamespace(path=path, body=text)), answers.append)
        while not answers:
            await asyncio.sleep(0)

    asyncio.run(run())
    (answer,) = answers
    return answer


def error_of(answer: Response) -> str:
    return str(json.loads(answer.body)["error"])


def test_the_index_tells_each_version_with_its_reason():
    answer = ask("/v2/repository/index")
    assert (answer.status, json.loads(answer.body)) == (
        200,
        [
            {
                "name": "a",
                "version": "1",
                "state": "UNAVAILABLE",
                "reason": "model.onnx: no ONNX model",
            },
            {"name": "b", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
            {"name": "b", "version": "2", "state": "READY", "default": True},
            {"name": "b", "version": "3", "state": "LOADING"},
            {"name": "c"},
            {"name": "d", "state": "UNAVAILABLE", "reason": "d/config.pbtxt:1: no"},
        ],
    )


def test_the_index_of_what_is_ready():
    answer = ask("/v2/repository/index", {"ready": True})
    assert [entry["version"] for entry in json.loads(answer.body)] == ["2"]
    assert json.loads(ask("/v2/repository/index", {"ready": False}).body)[0]["name"] == "a"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 10_000, "the body is not JSON"),
        (b"[]", "expected a JSON object"),
        ({"ready": 1}, 'expected {"ready": true or false}'),
        (b" " * 100_000, "the body is not JSON"),  # Looked at on a thread.
    ],
)
def test_a_body_that_says_nothing_is_refused(body, message):
    answer = ask("/v2/repository/index", body)
    assert answer.status == 400
    assert message in json.loads(answer.body)["error"]


def test_labels_and_the_default_are_told_with_their_versions():
    labelled = model("l", {1: READY, 2: READY})
    labelled.labels = {"stable": 1, "old": 1, "gone": 7}
    labelled.aspired = Aspired(frozenset({1}), frozenset({1, 2}))
    manager = SimpleNamespace(models={"l": labelled}, events=EventLog())
    index = RepositoryRoutes(cast(Any, manager), None, "none").index({})
    assert [(e["version"], e.get("labels"), e.get("default")) for e in index] == [
        ("1", ["old", "stable"], True),
        ("2", None, None),
    ]


def test_a_list_looks_for_new_models_first():
    control = Control()
    ask("/v2/repository/index", None, control)
    assert control.asked == [("refresh",)]


def test_a_load_is_answered_when_it_has_ended():
    control = Control()
    answer = ask("/v2/repository/models/my model/load", {}, control)
    assert (answer.status, answer.body, control.asked) == (200, b"", [("load", "my model", None)])


@pytest.mark.parametrize("mode", ["explicit", "poll"])
@pytest.mark.parametrize(
    ("word", "body", "asked"),
    [
        ("unload", {"parameters": {"unload_dependents": True}}, ("unload", "m")),
        ("labels", {"labels": {"a": 3, "b": None}}, ("label", "m", {"a": 3, "b": None})),
        ("labels", {"labels": {"a": "3"}}, ("label", "m", {"a": 3})),
        ("rollback", {}, ("roll back", "m", None)),
        ("rollback", {"version": 2}, ("roll back", "m", 2)),
    ],
)
def test_what_is_asked_reaches_the_control(word, body, asked, mode):
    result = {"a": 3} if word == "labels" else MODELS[0]
    control = Control(result=result)
    answer = ask(f"/v2/repository/models/m/{word}", body, control, mode)
    if (word, mode) == ("unload", "poll"):
        assert answer.status == 400
        assert "it needs --model-control explicit" in error_of(answer)
    else:
        assert (answer.status, control.asked) == (200, [asked])


def test_a_decision_is_answered_with_what_holds_now():
    answer = ask(
        "/v2/repository/models/m/labels", {"labels": {"a": 3}}, Control(result={"a": 3, "b": 1})
    )
    assert json.loads(answer.body) == {"name": "m", "labels": {"a": 3, "b": 1}}
    answer = ask("/v2/repository/models/b/rollback", {}, Control(result=MODELS[0]))
    assert json.loads(answer.body) == {"name": "b", "version": 2, "skipped": []}


def test_configs_and_files_come_with_a_load():
    control = Control()
    parameters = {"config": "{}", "file:1/model.onnx": "b25ueA=="}
    ask("/v2/repository/models/m/load", {"parameters": parameters}, control)
    ((_, _, given),) = control.asked
    assert (given.config_json, given.files) == ("{}", {"1/model.onnx": b"onnx"})


@pytest.mark.parametrize(
    ("failure", "status", "message"),
    [
        (Error("NOT_FOUND", "there is none"), 404, "model 'm' was not loaded: there is none"),
        (Error("INVALID_ARGUMENT", "bad file"), 400, "model 'm' was not loaded: bad file"),
        (ZeroDivisionError("secret"), 500, "internal error; the server's log has the details"),
    ],
)
def test_a_load_that_fails_says_why(failure, status, message):
    answer = ask("/v2/repository/models/m/load", {}, Control(failure=failure))
    assert (answer.status, json.loads(answer.body)) == (status, {"error": message})


@pytest.mark.parametrize(
    ("word", "body", "message"),
    [
        ("load", {"parameters": []}, "parameters: expected an object"),
        ("load", {"parameters": {"x": 1}}, "unknown parameter 'x'"),
        ("unload", {"parameters": {"unload_dependents": 1}}, "expected true or false"),
        ("labels", {}, 'expected {"labels": {"stable": 3}}'),
        ("labels", {"labels": {str(i): i + 1 for i in range(101)}}, "1 to 100 of them"),
        ("labels", {"labels": {"a": 0}}, "a: expected a version, found '0'"),
        ("labels", {"labels": {"a": True}}, "a: expected a version, found 'True'"),
        ("labels", {"labels": {"a": [1]}}, "a: expected a version"),
        ("rollback", {"version": -1}, "version: expected a version, found '-1'"),
        ("rollback", {"version": "9" * 20}, "version: expected a version"),
    ],
)
def test_what_says_nothing_is_refused(word, body, message):
    control = Control()
    answer = ask(f"/v2/repository/models/m/{word}", body, control)
    assert answer.status == 400
    assert message in error_of(answer)
    assert not control.asked


@pytest.mark.parametrize("word", ["load", "unload", "labels", "rollback"])
def test_without_control_nothing_changes(word):
    answer = ask(f"/v2/repository/models/m/{word}", {"labels": {"a": 1}})
    assert answer.status == 400
    assert "it needs --model-control explicit" in error_of(answer)
    assert "the server was started with none" in error_of(answer)


def test_other_paths_are_not_its_own():
    manager = SimpleNamespace(models={}, events=EventLog())
    routes = RepositoryRoutes(cast(Any, manager), None, "none")
    for path in ("/v2/repository", "/v2/repository/models//load", "/v2/repository/models/m/drop"):
        assert routes.verb(path) is None
    assert routes.verb("/v2/repository/events") == "GET"
