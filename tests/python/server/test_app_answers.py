"""What `fastserve run` answers, over a real socket."""

from __future__ import annotations

import json

from prometheus_client.parser import text_string_to_metric_families

from tests.python.server.conftest import DIGITS, MODELS, PAIR, ROOT, add_digits, add_identity

REQUEST = (ROOT / "examples" / "digits" / "request.json").read_bytes()


def samples(text: str) -> dict[tuple[str, str], float]:
    """(name, model) -> value, summed over the other labels."""
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, sample.labels.get("model", ""))
            found[key] = found.get(key, 0) + sample.value
    return found


def test_a_file_is_served_under_its_name(start):
    server = start(DIGITS).await_ready()
    reply = server.request("POST", "/v2/models/digits/infer", REQUEST)
    assert reply.status == 200, reply.body
    outputs = {output["name"]: output["data"] for output in reply.json["outputs"]}
    assert outputs["label"] == [7]
    assert server.end() == 0


def test_a_file_can_be_given_another_name(start):
    server = start(DIGITS, "--name", "figures").await_ready()
    assert server.get("/v2/models/figures/ready").status == 200
    reply = server.get("/v2/models/digits")
    assert reply.status == 404
    assert "there is no model 'digits'" in reply.json["error"]


def test_several_files_are_served_at_once(start):
    server = start(DIGITS, MODELS / "add_mul.onnx").await_ready()
    assert set(server.get("/").json["models"]) == {"digits", "add_mul"}


def test_health_and_metadata(start):
    server = start(DIGITS).await_ready()
    assert server.get("/v2/health/live").json == {"live": True}
    assert server.get("/v2/health/ready").json == {"ready": True}
    about = server.get("/v2").json
    assert about["name"] == "fastserve"
    assert "binary_tensor_data" in about["extensions"]
    model = server.get("/v2/models/digits").json
    assert model["versions"] == ["1"]
    assert model["platform"] == "onnxruntime_onnx"
    assert model["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]}]
    assert server.get("/v2/models/digits/versions/1").json == model
    assert server.get("/v2/models/digits/config").json["max_batch_size"] == 32
    assert server.get("/v2/models/digits/versions/2").status == 404


# HEAD is GET without the body, wrong verbs name the right ones, and the connection stays usable.
def test_verbs(start):
    server = start(DIGITS).await_ready()
    head = server.request("HEAD", "/v2")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(server.get("/v2").body)
    wrong = server.request("POST", "/v2/health/live", b"{}")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    wrong = server.get("/v2/models/digits/infer")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST, OPTIONS")
    assert wrong.headers["Content-Type"] == "application/json"


def test_unknown_paths_are_answered_with_a_hint(start):
    server = start(DIGITS).await_ready()
    reply = server.get("/v2/health/readyy")
    assert reply.status == 404
    assert "did you mean '/v2/health/ready'" in reply.json["error"]


def test_an_inference_for_an_unknown_model_or_version_says_what_there_is(start, repository):
    add_digits(repository)
    server = start(repository).await_ready()
    reply = server.request("POST", "/v2/models/digit/infer", REQUEST)
    assert reply.status == 404
    assert "did you mean 'digits'" in reply.json["error"]
    reply = server.request("POST", "/v2/models/digits/versions/9/infer", REQUEST)
    assert reply.status == 404
    assert "it has 1" in reply.json["error"]


def test_one_wrong_config_does_not_stop_the_others(start, repository):
    add_identity(repository, "good")
    add_identity(repository, "bad", extra="max_batch_sizes: 4\n")
    server = start(repository).await_ready()
    assert server.infer("good", PAIR).json["outputs"][0]["data"] == PAIR["data"]
    reply = server.get("/v2/models/bad/ready")
    assert reply.status == 503
    assert "bad/config.pbtxt:6" in reply.json["error"]
    assert "max_batch_sizes" in reply.json["error"]
    refused = server.infer("bad", PAIR)
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert "bad/config.pbtxt:6" in server.log()


def test_strict_readiness_asks_for_every_model(start, repository):
    add_identity(repository, "good")
    add_identity(repository, "bad", extra="nonsense\n")
    server = start(repository, "--strict-readiness")
    server.await_log("is serving at")
    reply = server.get("/v2/health/ready")
    assert (reply.status, reply.json["ready"]) == (503, False)
    assert server.get("/v2/models/good/ready").status == 200


# It listens before it loads: alive at once, ready when the first attempt has ended.
def test_health_is_honest_while_models_load(start, repository):
    add_identity(repository, "slow", delay_us=1_500_000)  # Its warm-up takes as long.
    server = start(repository)
    assert server.get("/v2/health/live").status == 200
    assert server.get("/v2/health/ready").status == 503
    loading = server.infer("slow", PAIR)
    assert loading.status == 503
    assert loading.headers["Retry-After"] == "1"
    server.await_ready()


def test_metrics_tell_what_was_asked(start):
    server = start(DIGITS).await_ready()
    for _ in range(3):
        assert server.request("POST", "/v2/models/digits/infer", REQUEST).status == 200
    reply = server.get("/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain")
    found = samples(reply.body.decode())
    assert found["fastserve_requests_total", "digits"] == 3
    assert found["fastserve_rows_total", "digits"] == 3
    assert found["fastserve_executions_total", "digits"] == 3
    assert found["fastserve_request_failures_total", "digits"] == 0
    assert found["fastserve_request_duration_seconds_count", "digits"] == 3
    assert found["fastserve_request_duration_seconds_sum", "digits"] > 0
    assert found["fastserve_model_ready", "digits"] == 1
    assert found["process_resident_memory_bytes", ""] > 0
    assert found["fastserve_http_requests_total", ""] >= server.sent
    assert found["fastserve_connections", ""] >= 1


def test_a_request_that_fails_is_counted(start):
    server = start(DIGITS).await_ready()
    wrong = {"name": "image", "datatype": "FP32", "shape": [1, 8, 7], "data": [0] * 56}
    assert server.infer("digits", wrong).status == 400
    found = samples(server.get("/metrics").body.decode())
    assert found["fastserve_requests_total", "digits"] == 0


def test_the_banner_says_what_is_served_and_how_to_reach_it(start):
    server = start(DIGITS).await_ready()
    log = server.await_log("expose")
    assert f"is serving at http://127.0.0.1:{server.port}, ready in" in log
    assert "batching up to 32 rows" in log
    assert "takes image FP32 [-1, 8, 8]" in log
    assert "--host 0.0.0.0" in log
    assert "\x1b" not in log


def test_a_client_may_send_requests_one_after_another(start):
    import http.client

    server = start(DIGITS).await_ready()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for method, path in (("HEAD", "/v2"), ("GET", "/metrics"), ("GET", "/none"), ("GET", "/v2")):
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
    connection.close()
    assert json.loads(body)["name"] == "fastserve"
