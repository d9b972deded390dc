"""/v2/repository: the index, and what a load or an unload is answered with."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastserve.control.state import State
from fastserve.errors import Error
from fastserve.server.routes.repository import BODY_BYTES_MAX, RepositoryRoutes
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
    """Loads what the test says."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    failure: BaseException | None = None

    def load(self, name: str) -> Future[None]:
        return self._ask("load", name)

    def unload(self, name: str) -> Future[None]:
        return self._ask("unload", name)

    def _ask(self, action: str, name: str) -> Future[None]:
        self.asked.append((action, name))
        future: Future[None] = Future()
        if self.failure is None:
            future.set_result(None)
        else:
            future.set_exception(self.failure)
        return future


def ask(path: str, body: Any = None, control: Control | None = None) -> Response:
    """The one answer to a POST."""
    manager = SimpleNamespace(models={made.name: made for made in MODELS})
    routes = RepositoryRoutes(cast(Any, manager), cast(Any, control))
    assert routes.has(path)
    text = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    answers: list[Response] = []

    async def run() -> None:
        routes.render(cast(Any, SimpleNamespace(path=path, body=text)), answers.append)
        while not answers:
            await asyncio.sleep(0)

    asyncio.run(run())
    (answer,) = answers
    return answer


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
            {"name": "b", "version": "2", "state": "READY"},
            {"name": "b", "version": "3", "state": "LOADING"},
            {"name": "c"},
            {"name": "d", "state": "UNAVAILABLE", "reason": "d/config.pbtxt:1: no"},
        ],
    )


def test_the_index_of_what_is_ready():
    answer = ask("/v2/repository/index", {"ready": True})
    assert json.loads(answer.body) == [{"name": "b", "version": "2", "state": "READY"}]
    assert json.loads(ask("/v2/repository/index", {"ready": False}).body)[0]["name"] == "a"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 10_000, "the body is not JSON"),
        (b"[]", "expected a JSON object"),
        ({"ready": 1}, 'expected {"ready": true or false}'),
        (b" " * (BODY_BYTES_MAX + 1), f"expected at most {BODY_BYTES_MAX} bytes"),
    ],
)
def test_a_body_that_says_nothing_is_refused(body, message):
    answer = ask("/v2/repository/index", body)
    assert answer.status == 400
    assert message in json.loads(answer.body)["error"]


@pytest.mark.parametrize("action", ["load", "unload"])
def test_a_load_is_answered_when_it_has_ended(action):
    control = Control()
    body = {"parameters": {"unload_dependents": True}} if action == "unload" else {}
    answer = ask(f"/v2/repository/models/my model/{action}", body, control)
    assert (answer.status, answer.body, control.asked) == (200, b"", [(action, "my model")])


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
    ("control", "body", "status", "message"),
    [
        (None, {}, 400, "without --model-control explicit"),
        (Control(), {"parameters": {"config": "{}"}}, 501, "found the parameter 'config'"),
        (Control(), {"parameters": []}, 400, "parameters: expected an object"),
    ],
)
def test_what_cannot_be_loaded_so(control, body, status, message):
    answer = ask("/v2/repository/models/m/load", body, control)
    assert answer.status == status
    assert message in json.loads(answer.body)["error"]
    assert control is None or not control.asked


def test_other_paths_are_not_its_own():
    routes = RepositoryRoutes(cast(Any, None), None)
    for path in ("/v2/repository", "/v2/repository/models//load", "/v2/repository/models/m/drop"):
        assert not routes.has(path)
