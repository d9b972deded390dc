"""Triton's generate extension: flat JSON in and out, and any number of answers as events."""

import http.client
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.served import HOST, Repository, Server

MANY = 50


@pytest.fixture(scope="module")
def generating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = Repository(tmp_path_factory.mktemp("generate") / "models")
    models.add("add_mul")
    models.add_identity("text", datatype="STRING", dims="1", more="max_batch_size: 8")
    models.add_identity("half", datatype="FP16")
    models.add_identity("slow", delay_us=300_000)
    for name, count in (("many", MANY), ("none", 0)):
        models.add_identity(
            name,
            datatype="STRING",
            more=f"""
                parameters {{ key: "repeat" value {{ string_value: "{count}" }} }}
                model_transaction_policy {{ decoupled: true }}
            """,
        )
    with Server(models.path) as server:
        yield server


def ask(server: Server, model: str, body: Any, word: str = "generate") -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.request("POST", f"/v2/models/{model}/{word}", raw)


def events(body: bytes) -> list[dict[str, Any]]:
    """Of a stream: each begins with "data: " and ends with an empty line."""
    *found, rest = body.decode().split("\n\n")
    assert rest == ""
    assert all(event.startswith("data: ") for event in found)
    return [json.loads(event.removeprefix("data: ")) for event in found]


def test_a_flat_object_in_and_out(generating):
    answer = ask(generating, "text", {"x": "hällo", "id": "7"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {"id": "7", "model_name": "text", "model_version": "1", "y": "hällo"}


def test_lists_are_tensors_and_other_keys_parameters(generating):
    body = {"a": [1, 2, 3, 4], "b": [5, 6, 7, 8], "temperature": 0.5, "parameters": {"top": 3}}
    answer = ask(generating, "add_mul", body)
    assert answer.json["sum"] == [6.0, 8.0, 10.0, 12.0]
    assert answer.json["product"] == [5.0, 12.0, 21.0, 32.0]
    versioned = generating.request(
        "POST", "/v2/models/add_mul/versions/1/generate", json.dumps(body).encode()
    )
    assert versioned.json["sum"] == [6.0, 8.0, 10.0, 12.0]


@pytest.mark.parametrize("word", ["generate", "generate_stream"])
@pytest.mark.parametrize(
    ("model", "body", "status", "why"),
    [
        ("text", b"", 400, "the body is empty"),
        ("text", b"{", 400, "not valid JSON"),
        ("text", {}, 400, "input 'x' is missing"),
        ("text", {"x": [1]}, 400, "x"),
        ("text", {"x": ["a", "b"]}, 400, "2 elements do not fit shape [-1,1]"),
        ("text", {"x": "a", "y": [1]}, 400, "which is no input of the model"),
        ("nope", {"x": "a"}, 404, "there is no model 'nope'"),
        ("slow", {"x": 1, "parameters": {"timeout": 1000}}, None, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_by_the_status(generating, word, model, body, status, why):
    answer = ask(generating, model, body, word)
    assert answer.status in ([status] if status else [503, 504]), answer
    assert why in answer.error


def test_other_verbs(generating):
    assert generating.request("GET", "/v2/models/text/generate").status == 405
    allowed = generating.request("OPTIONS", "/v2/models/text/generate_stream")
    assert allowed.headers["allow"] == "POST, OPTIONS"


def test_one_answer_only_unless_it_streams(generating):
    answer = ask(generating, "many", {"x": "a"})
    assert answer.status == 400
    assert f"gave {MANY} responses" in answer.error


def test_a_stream_of_events(generating):
    answer = ask(generating, "many", {"x": "a\n\nb", "id": "7"}, "generate_stream")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["transfer-encoding"] == "chunked"
    found = events(answer.body)
    assert len(found) == MANY
    assert found[0] == {"id": "7", "model_name": "many", "model_version": "1", "y": "a\n\nb"}
    assert ask(generating, "none", {"x": "a"}, "generate_stream").body == b""
    assert events(ask(generating, "text", {"x": "a"}, "generate_stream").body)[0]["y"] == "a"


def test_the_connection_goes_on_after_a_stream(generating):
    connection = http.client.HTTPConnection(HOST, generating.port, timeout=20)
    for _ in range(3):
        connection.request("POST", "/v2/models/many/generate_stream", b'{"x":"a"}')
        assert len(events(connection.getresponse().read())) == MANY
        connection.request("GET", "/v2/health/live")
        assert connection.getresponse().read()
    connection.close()


def test_an_input_that_json_cannot_say_is_refused(generating):
    answer = ask(generating, "half", {"x": [1]}, "generate_stream")
    assert answer.status == 400
    assert "FP16" in answer.error


def test_http_1_0_has_no_chunks(generating):
    class Old(http.client.HTTPConnection):
        _http_vsn = 10
        _http_vsn_str = "HTTP/1.0"

    connection = Old(HOST, generating.port, timeout=20)
    connection.request("POST", "/v2/models/many/generate_stream", b'{"x":"a"}')
    response = connection.getresponse()
    assert response.headers["transfer-encoding"] is None
    assert len(events(response.read())) == MANY
    connection.close()


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("flag", ["--http1.1", "--http2-prior-knowledge"])
def test_curl(generating, flag):
    url = f"http://{generating.address}/v2/models/many/generate_stream"
    command = ["curl", "-sN", flag, "-d", '{"x":"a"}', "-w", "%{content_type}", url]
    said = subprocess.run(command, capture_output=True, timeout=20, check=True).stdout
    body, _, kind = said.rpartition(b"\n\n")
    assert len(events(body + b"\n\n")) == MANY
    assert kind == b"text/event-stream; charset=utf-8"


def test_who_stops_reading_or_leaves_takes_nothing_along(generating, tmp_path: Path):
    large = json.dumps({"x": "a" * 500_000}).encode()
    idle = http.client.HTTPConnection(HOST, generating.port, timeout=20)
    idle.request("POST", "/v2/models/many/generate_stream", large)
    leaving = http.client.HTTPConnection(HOST, generating.port, timeout=20)
    leaving.request("POST", "/v2/models/many/generate_stream", large)
    leaving.getresponse().read(1000)
    leaving.close()
    assert events(ask(generating, "text", {"x": "a"}, "generate_stream").body)[0]["y"] == "a"
    assert len(events(idle.getresponse().read())) == MANY
    idle.close()
    generating.check_healthy()
