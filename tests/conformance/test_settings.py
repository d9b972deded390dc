"""Log and trace settings, through Triton's clients, on one loop and on several."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from google.protobuf.json_format import MessageToDict
from tritonclient.utils import InferenceServerException

from tests.served import Repository, Server

WRITTEN_S = 10.0
LOOPS = [(), ("--loops", "2"), ("--loops", "2", "--loop-kind", "thread")]
# Of one inference that ran, in order.
PHASES = [
    "REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START",
    "COMPUTE_END", "REQUEST_END",
]  # fmt: skip


@dataclass
class Traced:
    """A server, its clients, and where its traces go."""

    server: Server
    http: Any
    grpc: Any
    file: Path

    def set(self, model: str | None = None, **settings: Any) -> dict[str, Any]:
        shown: dict[str, Any] = self.http.update_trace_settings(model, settings)
        return shown

    def set_over_grpc(self, model: str | None = None, **settings: Any) -> dict[str, list[str]]:
        return of_grpc(self.grpc.update_trace_settings(model, settings))

    def infer(self, model: str = "a", id: str = "") -> None:
        x = tritonclient.http.InferInput("x", [1], "FP32")
        x.set_data_from_numpy(np.zeros(1, np.float32))
        self.http.infer(model, [x], request_id=id)

    def infer_over_grpc(self, model: str = "a", id: str = "") -> None:
        self.grpc.infer(model, [self.grpc_input()], request_id=id)

    def grpc_input(self) -> Any:
        x = tritonclient.grpc.InferInput("x", [1], "FP32")
        x.set_data_from_numpy(np.zeros(1, np.float32))
        return x

    def traces(self, count: int, suffix: str = "") -> list[dict[str, Any]]:
        """What is in the file as soon as it has that many, each one's objects put together."""
        path = self.file.with_name(self.file.name + suffix)
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            nonlocal found
            found = []
            # Not there yet, or just made: nothing is written.
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                found = traces_in(path)
            return len(found) >= count

        self.server.wait_for(is_there, lambda: f"{len(found)} traces in {path}", WRITTEN_S)
        assert len(found) == count
        return found


def traces_in(path: Path) -> list[dict[str, Any]]:
    merged: dict[int, dict[str, Any]] = {}
    for entry in json.loads(path.read_text()):
        merged.setdefault(entry["id"], {}).update(entry)
    return list(merged.values())


def of_grpc(message: Any) -> dict[str, list[str]]:
    return {key: list(setting.value) for key, setting in message.settings.items()}


def started(folder: Path, *flags: str) -> Iterator[Traced]:
    models = Repository(folder / "models")
    for name in ("a", "b"):
        models.add_identity(name)
    file = folder / "trace.json"
    with (
        Server(models.path, "--trace-file", str(file), *flags) as server,
        tritonclient.http.InferenceServerClient(server.address, concurrency=4) as http,
        tritonclient.grpc.InferenceServerClient(server.address) as grpc,
    ):
        yield Traced(server, http, grpc, file)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Traced]:
    yield from started(tmp_path)


@pytest.fixture(params=LOOPS, ids=["one", "processes", "threads"])
def traced(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Traced]:
    yield from started(tmp_path, *request.param)


def names(trace: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in trace["timestamps"]]


def test_what_is_set_at_first(one):
    shown = one.http.get_trace_settings()
    assert shown == {
        "trace_file": str(one.file),
        "trace_level": ["OFF"],
        "trace_rate": "1000",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_mode": "triton",
    }
    expected = {key: value if isinstance(value, list) else [value] for key, value in shown.items()}
    assert of_grpc(one.grpc.get_trace_settings()) == expected
    assert of_grpc(one.grpc.get_trace_settings("a")) == expected
    for extension in ("trace", "logging"):
        assert extension in one.http.get_server_metadata()["extensions"]


def test_inferences_of_each_protocol_are_traced(traced):
    began_ns = time.time_ns()
    shown = traced.set(trace_level=["TIMESTAMPS"], trace_rate="1")
    assert (shown["trace_level"], shown["trace_rate"]) == (["TIMESTAMPS"], "1")
    traced.infer(id="over http")
    traced.infer_over_grpc(id="over grpc")
    answers: list[Any] = []
    traced.grpc.start_stream(lambda result, error: answers.append(error or result))
    for number in range(3):
        traced.grpc.async_stream_infer("b", [traced.grpc_input()], request_id=f"stream {number}")
    traced.server.wait_for(lambda: len(answers) == 3, lambda: f"{answers}", WRITTEN_S)
    traced.grpc.stop_stream()
    by_id = {trace["request_id"]: trace for trace in traced.traces(5)}
    assert set(by_id) == {"over http", "over grpc", *(f"stream {n}" for n in range(3))}
    for id, trace in by_id.items():
        assert trace["model_name"] == ("b" if "stream" in id else "a")
        assert trace["model_version"] == 1
        start, end = ("HTTP_RECV", "HTTP_SEND") if "http" in id else ("GRPC_WAITREAD", "GRPC_SEND")
        ends = [f"{end}_START", f"{end}_END"]
        assert names(trace) == [f"{start}_START", f"{start}_END", *PHASES, *ends]
        times = [entry["ns"] for entry in trace["timestamps"]]
        assert times == sorted(times)
        assert began_ns <= times[0] <= times[-1] <= time.time_ns()


def test_one_of_so_many_is_traced_and_no_more_than_were_asked_for(one):
    one.set(trace_level=["TIMESTAMPS"], trace_rate="3", trace_count="2")
    for number in range(12):
        one.infer(id=str(number))
    assert [trace["request_id"] for trace in one.traces(2)] == ["2", "5"]
    assert one.http.get_trace_settings()["trace_count"] == "0"
    one.set(trace_count="1")
    for number in range(3):
        one.infer(id=f"again {number}")
    assert one.traces(3)[-1]["request_id"] == "again 2"


def test_files_of_so_many_traces_each(one):
    one.set(trace_level=["TIMESTAMPS"], trace_rate="1", log_frequency="2")
    for number in range(5):
        one.infer(id=str(number))
        if number < 4:
            one.traces(number % 2 + 1, f".{number // 2}")
    found = [one.traces(count, f".{number}") for number, count in enumerate((2, 2, 1))]
    assert [[trace["request_id"] for trace in part] for part in found] == [
        ["0", "1"], ["2", "3"], ["4"],
    ]  # fmt: skip
    assert not one.file.exists()


def test_a_model_may_differ_until_that_is_taken_back(traced):
    traced.set(trace_level=["TIMESTAMPS"], trace_rate="1")
    shown = traced.set_over_grpc("b", trace_level="OFF", trace_rate="7")
    assert (shown["trace_level"], shown["trace_rate"]) == (["OFF"], ["7"])
    assert traced.http.get_trace_settings()["trace_level"] == ["TIMESTAMPS"]
    traced.infer("b", "not")
    traced.infer("a", "yes")
    shown = traced.set_over_grpc("b", trace_level=None, trace_rate=None)
    assert (shown["trace_level"], shown["trace_rate"]) == (["TIMESTAMPS"], ["1"])
    traced.infer_over_grpc("b", "now")
    assert {trace["request_id"] for trace in traced.traces(2)} == {"yes", "now"}


@pytest.mark.parametrize("traced", [("--loops", "2")], ids=["processes"], indirect=True)
def test_a_loop_that_is_started_again_is_told(traced):
    traced.set(trace_level=["TIMESTAMPS"], trace_rate="1")
    pids = loops_of(traced.server)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        with contextlib.suppress(OSError):  # Nobody may be there for a moment.
            now = loops_of(traced.server)
            return len(now) == 2 and not now & pids
        return False

    traced.server.wait_for(is_back, lambda: "no new loops", WRITTEN_S)
    request = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [0]}]}
    for _ in range(4):
        assert traced.server.post("a", request).status == 200
    traced.traces(4)


def loops_of(server: Server) -> set[int]:
    """The processes of those that serve."""
    loops = server.request("GET", "/debug").json["loops"]
    return {loop["pid"] for loop in loops if loop["state"] == "serving"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trace_rate": "none"}, "trace_rate: expected a number"),
        ({"trace_level": ["TENSORS"]}, "this server traces TIMESTAMPS"),
        ({"trace_file": "/tmp/elsewhere"}, "--trace-file"),
        ({"trace_mode": "opentelemetry"}, "exports nothing to OpenTelemetry yet"),
        ({"unknown": "1"}, "there is no trace setting 'unknown'"),
    ],
)
def test_a_wrong_setting_changes_nothing(one, settings, message):
    before = one.http.get_trace_settings()
    for update in (one.set, one.set_over_grpc):
        with pytest.raises(InferenceServerException) as caught:
            update(log_frequency="5", **settings)
        assert message in caught.value.message()
        assert caught.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")
    assert one.http.get_trace_settings() == before


def test_settings_of_a_model_that_is_not_there(one):
    for client in (one.http, one.grpc):
        with pytest.raises(InferenceServerException, match="there is no model 'nothing'"):
            client.get_trace_settings("nothing")


def test_without_a_file_nothing_is_traced(server, client):
    assert client.get_trace_settings()["trace_file"] == ""
    with pytest.raises(InferenceServerException, match="--trace-file FILE"):
        client.update_trace_settings(None, {"trace_level": ["TIMESTAMPS"]})


# -- Logs ------------------------------------------------------------------------------------


def test_log_settings_of_each_protocol(one):
    expected = {
        "log_file": "",
        "log_info": True,
        "log_warning": True,
        "log_error": True,
        "log_verbose_level": 0,
        "log_format": "default",
    }
    assert one.http.get_log_settings() == expected
    changed = {"log_warning": False, "log_verbose_level": 2, "log_format": "ISO8601"}
    assert one.http.update_log_settings(changed) == {**expected, **changed}
    shown = MessageToDict(one.grpc.get_log_settings(), preserving_proto_field_name=True)
    found = {key: next(iter(value.values())) for key, value in shown["settings"].items()}
    assert found == {**expected, **changed}
    one.grpc.update_log_settings({"log_warning": True, "log_verbose_level": 0})
    assert one.http.get_log_settings() == {**expected, "log_format": "ISO8601"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"log_inof": True}, "did you mean 'log_info'?"),
        ({"log_file": "/tmp/elsewhere"}, "log_file cannot be changed"),
        ({"log_format": "other"}, 'log_format: expected "default" or "ISO8601"'),
    ],
)
def test_a_wrong_log_setting_changes_nothing(one, settings, message):
    before = one.http.get_log_settings()
    for client in (one.http, one.grpc):
        with pytest.raises(InferenceServerException) as caught:
            client.update_log_settings({"log_error": False, **settings})
        assert message in caught.value.message()
    with pytest.raises(InferenceServerException, match="log_info: expected true or false"):
        one.http.update_log_settings({"log_error": False, "log_info": "yes"})  # gRPC has types.
    assert one.http.get_log_settings() == before


# A load that fails is logged as an error, a load that does not as information.
def test_logs_are_as_they_were_set(tmp_path):
    models = Repository(tmp_path / "models")
    models.add_identity("a")
    with Server(models.path, "--model-control", "explicit", "--load-model", "a") as server:

        def lines_of(settings: dict[str, Any], model: str) -> list[str]:
            length = len(server.log_text())
            body = json.dumps(settings).encode()
            assert server.request("POST", "/v2/logging", body).status == 200
            server.request("POST", f"/v2/repository/models/{model}/load")
            return server.log_text()[length:].splitlines()

        assert any("'a' was loaded" in line for line in lines_of({}, "a"))
        assert lines_of({"log_info": False}, "a") == []
        (line,) = lines_of({"log_format": "ISO8601"}, "nothing")
        assert line[10] == "T"
        assert "'nothing' was not loaded" in line
        assert lines_of({"log_error": False}, "nothing") == []
