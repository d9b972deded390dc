"""What browsers, and others that ask before they ask, are answered: CORS, OPTIONS, HEAD."""

import json
from collections.abc import Iterator

import pytest
from openapi_spec_validator import validate

from tests.served import Repository, Server

PAGE, OTHER = "https://app.example:8443", "https://evil.example"
REQUEST = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [0]}]}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module", params=[(), ("--loops", "2")], ids=["one", "two"])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    models = Repository(tmp_path_factory.mktemp("browsers") / "models")
    models.add_identity("m")
    models.add_identity(HOSTILE)
    flags = ("--cors-origins", f"{PAGE},http://localhost:3000", *request.param)
    with Server(models.path, *flags) as running:
        yield running


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
def test_a_page_may_ask_and_read(shared, origin):
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,inference-header-content-length",
    }
    leave = shared.request("OPTIONS", "/v2/models/m/infer", headers=asked)
    assert (leave.status, leave.body) == (204, b"")
    assert leave.headers["access-control-allow-origin"] == origin
    assert "POST" in leave.headers["access-control-allow-methods"]
    allowed = leave.headers["access-control-allow-headers"].lower()
    for name in asked["Access-Control-Request-Headers"].split(","):
        assert name in allowed
    headers = {"Origin": origin, "Fastserve-Timing": "1"}
    for answer, status in (
        (shared.post("m", REQUEST, headers), 200),
        (shared.post("m", {}, headers), 400),
        (shared.post("nothing", REQUEST, headers), 404),
        (shared.request("GET", "/v2", headers=headers), 200),
        (shared.request("PUT", "/v2", headers=headers), 405),
    ):
        assert answer.status == status, answer
        assert answer.headers["access-control-allow-origin"] == origin
        assert "Server-Timing" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"


def test_another_page_may_not(shared):
    for answer in (
        shared.post("m", REQUEST, {"Origin": OTHER}),
        shared.request("GET", "/v2", headers={"Origin": OTHER}),
        shared.request("OPTIONS", "/v2", headers={"Origin": OTHER}),
    ):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


# Such a POST a browser sends without asking first.
def test_another_page_may_not_change_the_server(shared):
    for path in ("/v2/logging", "/v2/trace/setting", "/v2/repository/models/m/unload"):
        plain = {"Content-Type": "text/plain", "Origin": OTHER}
        answer = shared.request("POST", path, b"{}", plain)
        assert answer.status == 403, answer
        assert OTHER in answer.error
    assert shared.request("POST", "/v2/logging", b"{}", {"Origin": PAGE}).status == 200
    own = {"Origin": f"http://{shared.address}"}
    assert shared.request("POST", "/v2/logging", b"{}", own).status == 200


def test_without_the_option_nothing_is_allowed(server):
    answer = server.request("GET", "/v2", headers={"Origin": PAGE})
    assert "access-control-allow-origin" not in answer.headers
    assert "vary" not in answer.headers


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/v2/models/add_mul/infer", "POST, OPTIONS"),
        ("/v2/models/nobody/versions/7/infer", "POST, OPTIONS"),
        ("/v2/trace/setting", "GET, HEAD, POST, OPTIONS"),
        ("/v2/repository/models/x/load", "POST, OPTIONS"),
        ("*", "GET, HEAD, POST, OPTIONS"),
    ],
)
def test_options_say_what_a_path_takes(server, path, allow):
    answer = server.request("OPTIONS", path)
    assert (answer.status, answer.headers["allow"]) == (204, allow)


def test_options_of_nothing_is_404(server):
    assert server.request("OPTIONS", "/v2/nothing").status == 404


def test_head_is_get_without_a_body_wherever_get_is(server):
    document = server.request("GET", "/v2/openapi.json").json
    validate(document)
    paths = [path for path, item in document["paths"].items() if "get" in item]
    assert len(paths) > 15
    for template in paths:
        path = template.replace("{model}", "add_mul").replace("{version}", "1")
        head, get = server.request("HEAD", path), server.request("GET", path)
        assert (head.status, head.body) == (get.status, b""), path
        assert head.headers["content-type"] == get.headers["content-type"], path
        if path not in ("/metrics", "/debug", "/v2/models/stats", "/v2/models/add_mul/stats"):
            assert head.headers["content-length"] == get.headers["content-length"], path


# The example of each model that has one is answered.
def test_the_examples_of_the_document_are_requests(server):
    document = server.request("GET", "/v2/openapi.json").json
    tried = 0
    for path, item in document["paths"].items():
        content = item.get("post", {}).get("requestBody", {}).get("content", {})
        example = content.get("application/json", {}).get("example")
        if "{" in path or not path.endswith("/infer") or example is None:
            continue
        answer = server.request("POST", path, json.dumps(example).encode())
        assert answer.status == 200, (path, example, answer)
        tried += 1
    assert tried >= 5


def test_the_page_holds_no_name_of_a_model(shared):
    answer = shared.request("GET", "/docs")
    assert answer.status == 200
    assert HOSTILE.encode() not in answer.body
    document = shared.request("GET", "/v2/openapi.json")
    assert document.headers["content-type"] == "application/json"
    assert any("onerror" in path for path in document.json["paths"])
