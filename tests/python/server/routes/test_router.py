"""Routes are functions of a verb, a path and the models' states."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastserve.config.completion import ServedConfig
from fastserve.config.model_config import ModelConfig, Tensor
from fastserve.control.events import EventLog
from fastserve.control.loading.loader import Loaded
from fastserve.control.manager import Manager
from fastserve.control.model import Model
from fastserve.control.repository.model_repository import ModelSource
from fastserve.control.state import State, VersionState
from fastserve.server.routes.responses import Response
from fastserve.server.routes.router import Router


@dataclass
class Request:
    """As much of a ControlRequest as the router touches."""

    method: str
    path: str
    is_grpc: bool = False
    headers: Sequence[tuple[str, str]] = ()
    answers: list[tuple[int, bytes, Sequence[tuple[str, str]]]] = field(default_factory=list)

    def respond(
        self, status: int, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.answers.append((status, body, headers))


SERVED = ServedConfig(
    inputs=(Tensor("image", "FP32", (-1, 8, 8)),),
    outputs=(Tensor("label", "INT64", (-1,)),),
    max_batch_size=32,
    joins_requests=True,
    batching="up to 32 rows, rows are independent",
    max_queue_delay_ns=0,
    preferred_batch_sizes=(),
    instance_count=1,
    queue_depth=1024,
)


def model(
    name: str,
    states: dict[int, tuple[State, str]] | None = None,
    *,
    present: Sequence[int] = (1,),
    problem: str = "",
    attempted: bool = True,
) -> Model:
    versions = {version: Path(name) / str(version) for version in present}
    made = Model(ModelSource(name, Path(name), versions), problem=problem, attempted=attempted)
    for version, (state, reason) in (states or {}).items():
        made.states[version] = VersionState(name, version, state, reason)
        if state is State.READY:
            made.loaded[version] = Loaded(
                name, version, "onnxruntime_onnx", ModelConfig(), SERVED, cast(Any, None), 1
            )
    return made


READY = (State.READY, "")
BROKEN = (State.FAILED, "model.onnx: no ONNX model")


def router(*models: Model, strict: bool = False, starting: bool = False) -> Router:
    manager = SimpleNamespace(
        models={made.name: made for made in models},
        all_ready=lambda: all(made.ready_versions() for made in models),
        events=EventLog(),
    )

    def render_metrics(respond: Callable[[Response], None]) -> None:
        respond(Response(200, b"# metrics", (("Content-Type", "text/plain"),)))

    made = Router(cast(Manager, manager), render_metrics, strict_readiness=strict)
    made.is_starting = starting
    return made


def ask(of: Router, method: str, path: str) -> Response:
    request = Request(method, path)
    of.on_control(cast(Any, request))
    ((status, text, headers),) = request.answers
    return Response(status, text, headers)


@pytest.fixture
def digits() -> Router:
    return router(model("digits", {1: READY, 3: READY}, present=(1, 2, 3)))


def body(response: Response) -> Any:
    return json.loads(response.body)


def header(response: Response, name: str) -> str | None:
    return dict(response.headers).get(name)


def test_alive_whatever_happens():
    starting = router(model("digits", attempted=False), starting=True)
    starting.drain()
    assert ask(starting, "GET", "/v2/health/live").status == 200


# Ready means that every first attempt has ended, not that every model is there.
def test_readiness(digits):
    assert ask(digits, "GET", "/v2/health/ready").status == 200
    assert ask(router(starting=True), "GET", "/v2/health/ready").status == 503
    failed = model("bad", {1: BROKEN})
    assert ask(router(failed), "GET", "/v2/health/ready").status == 200
    assert ask(router(failed, strict=True), "GET", "/v2/health/ready").status == 503
    digits.drain()
    response = ask(digits, "GET", "/v2/health/ready")
    assert (response.status, body(response)) == (503, {"error": "draining", "ready": False})


def test_only_what_is_there_is_called_an_extension(digits):
    assert body(ask(digits, "GET", "/v2"))["extensions"] == [
        "classification",
        "binary_tensor_data",
        "parameters",
        "model_configuration",
    ]


def test_metadata_is_that_of_the_version_or_the_highest(digits):
    answer = body(ask(digits, "GET", "/v2/models/digits"))
    assert answer == {
        "name": "digits",
        "versions": ["1", "3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]}],
        "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}],
    }
    assert body(ask(digits, "GET", "/v2/models/digits/versions/-1")) == answer
    assert ask(digits, "GET", "/v2/models/digits/versions/1").status == 200
    assert ask(digits, "GET", "/v2/models/digits/versions/1/config").status == 200


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v2/models/digit", 404, "there is no model 'digit'; did you mean 'digits'?"),
        ("/v2/models/zzz", 404, "there is no model 'zzz'; there is digits"),
        ("/v2/models/digits/versions/7", 404, "model 'digits' has no version 7; it has 1, 2, 3"),
        (
            "/v2/models/digits/versions/2",
            404,
            "version 2 of model 'digits' is left out by its version_policy, which chose 1, 3",
        ),
        (
            "/v2/models/digits/versions/x",
            404,
            "model 'digits' has no version 'x': that is no integer, and it has no labels",
        ),
        (
            "/v2/models/digits/versions/" + "9" * 19,
            400,
            f"expected an integer or a label as version, found '{'9' * 19}'",
        ),
        (
            "/v2/models/digits/versions/²",
            400,
            "expected an integer or a label as version, found '²'",
        ),
        (
            "/v2/models/digits/readyy",
            404,
            "there is nothing at /v2/models/digits/readyy; did you mean '/v2/models/digits/ready'?",
        ),
        ("/v2/", 404, "there is nothing at /v2/; did you mean '/v2'?"),
        ("/favicon.ico", 404, "there is nothing at /favicon.ico; / lists what is here"),
        ("/v2/models/", 404, None),
        ("", 404, None),
    ],
)
def test_what_is_not_there_is_said_with_a_hint(digits, path, status, message):
    response = ask(digits, "GET", path)
    assert response.status == status
    assert header(response, "Content-Type") == "application/json"
    if message:
        assert body(response) == {"error": message}


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/v2/health/ready", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v2/models/digits", "GET, HEAD, OPTIONS"),
        ("POST", "/metrics", "GET, HEAD, OPTIONS"),
        ("GET", "/v2/repository/index", "POST, OPTIONS"),
        ("DELETE", "/v2/repository/models/digits/load", "POST, OPTIONS"),
        ("GET", "/v2/models/digits/infer", "POST, OPTIONS"),
        ("HEAD", "/v2/models/digits/versions/1/infer", "POST, OPTIONS"),
    ],
)
def test_a_wrong_verb_is_told_the_right_ones(digits, method, path, allow):
    response = ask(digits, method, path)
    assert (response.status, header(response, "Allow")) == (405, allow)
    assert method in body(response)["error"]


# Only inferences that the core could not place come here: the answer says why.
def test_an_inference_for_a_model_that_loads_may_come_again_soon():
    loading = router(model("slow", attempted=False))
    for path in ("/v2/models/slow/infer", "/v2/models/slow/versions/1/infer"):
        response = ask(loading, "POST", path)
        assert (response.status, header(response, "Retry-After")) == (503, "1")
        assert "it is loading" in body(response)["error"]
    assert ask(loading, "POST", "/v2/models/slow/versions/9/infer").status == 404


def test_an_inference_for_a_model_that_failed_is_told_the_reason():
    failed = router(model("bad", {1: BROKEN}), model("worse", problem="worse/config.pbtxt:3: no"))
    response = ask(failed, "POST", "/v2/models/bad/versions/1/infer")
    assert response.status == 503
    assert body(response)["error"].endswith("is not served: model.onnx: no ONNX model")
    assert header(response, "Retry-After") == "60"
    response = ask(failed, "POST", "/v2/models/worse/versions/1/infer")
    assert response.status == 503
    assert body(response)["error"].endswith("worse/config.pbtxt:3: no")


def test_an_inference_for_a_model_that_was_published_meanwhile_may_come_again(digits):
    response = ask(digits, "POST", "/v2/models/digits/infer")
    assert (response.status, header(response, "Retry-After")) == (503, "1")


def test_a_model_is_ready_unknown_or_says_why_not(digits):
    assert body(ask(digits, "GET", "/v2/models/digits/ready")) == {
        "name": "digits",
        "ready": True,
    }
    assert ask(digits, "GET", "/v2/models/digitz/ready").status == 404
    response = ask(router(model("bad", {1: BROKEN})), "GET", "/v2/models/bad/ready")
    assert response.status == 503
    assert body(response) == {
        "error": "model 'bad' is not served: model.onnx: no ONNX model",
        "name": "bad",
        "ready": False,
    }
    digits.drain()
    assert ask(digits, "GET", "/v2/models/digits/ready").status == 503


def test_the_index_lists_models_with_their_reasons():
    index = body(ask(router(model("a", {1: READY}), model("b", {1: BROKEN})), "GET", "/"))
    assert index["models"]["a"] == {"versions": ["1"], "url": "/v2/models/a"}
    assert index["models"]["b"]["reason"] == "model.onnx: no ONNX model"
    assert "/metrics" in index["links"]


# On the loop's thread: a wrong name must not cost the others their latency.
def test_a_mistake_among_many_models_gets_a_short_answer():
    many = router(*(model(f"model_{number:04}", {1: READY}) for number in range(1000)))
    for name in ("model_12345", "x" * 10_000):
        message = body(ask(many, "GET", f"/v2/models/{name}"))["error"]
        assert message.endswith("model_0008, model_0009 and 990 more")
    assert ask(many, "GET", "/" + "x" * 10_000).status == 404


def test_each_request_is_answered_once(digits):
    for method, path in (("GET", "/v2"), ("HEAD", "/v2"), ("GET", "/metrics"), ("PUT", "/x")):
        request = Request(method, path)
        digits.on_control(cast(Any, request))
        assert len(request.answers) == 1


# HEAD gets the body that GET would get: the core sends its length alone.
def test_head_is_get(digits):
    get, head = Request("GET", "/v2"), Request("HEAD", "/v2")
    digits.on_control(cast(Any, get))
    digits.on_control(cast(Any, head))
    assert head.answers == get.answers


def test_a_route_that_fails_is_a_500_and_nothing_is_raised(digits, monkeypatch, caplog):
    monkeypatch.setattr(digits, "_find", lambda *_: 1 / 0)
    request = Request("GET", "/v2")
    digits.on_control(cast(Any, request))
    ((status, text, _),) = request.answers
    assert status == 500
    assert "log" in json.loads(text)["error"]
    assert "ZeroDivisionError" in caplog.text


def test_an_answer_that_cannot_be_given_raises_nothing(digits, monkeypatch, caplog):
    request = Request("GET", "/v2")
    monkeypatch.setattr(request, "respond", lambda *_: 1 / 0)
    digits.on_control(cast(Any, request))
    assert "answering GET /v2 failed" in caplog.text


def test_readiness_ends_when_no_loop_serves():
    manager = SimpleNamespace(models={}, all_ready=lambda: True, events=EventLog())
    made = Router(
        cast(Manager, manager),
        lambda respond: respond(Response(200)),
        strict_readiness=False,
        is_served=lambda: False,
    )
    made.is_starting = False
    response = ask(made, "GET", "/v2/health/ready")
    assert response.status == 503
    assert body(response)["error"] == "no event loop is serving"


def test_without_a_debug_endpoint_there_is_no_debug(digits):
    assert ask(digits, "GET", "/debug").status == 404
