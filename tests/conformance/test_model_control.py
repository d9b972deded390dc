"""Controlled model control, asked by Triton's own client; and hot swaps while requests come."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.conformance import made
from tests.conformance.controlled import Controlled, eventually
from tests.served import HOST, Repository, Server

SWAPS = 10


@pytest.fixture
def explicit(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Controlled]:
    models = Repository(tmp_path / "models")
    models.add_made("m", made.scaled(1))
    models.add("add_mul")
    flags = ("--model-control-mode", "explicit", "--load-model", "m")
    loops = getattr(request, "param", ())
    with (
        Server(models.path, *flags, *loops, models=["m"]) as server,
        tritonclient.http.InferenceServerClient(server.address, connection_timeout=20) as client,
    ):
        yield Controlled(server, models.path, client)


def test_models_come_and_go_when_they_are_told_to(explicit):
    client = explicit.client
    assert "model_repository" in client.get_server_metadata()["extensions"]
    assert explicit.index() == {"add_mul": {}, "m": {"1": "READY"}}
    assert not client.is_model_ready("add_mul")
    client.load_model("add_mul")
    assert client.is_model_ready("add_mul")
    client.unload_model("add_mul", unload_dependents=True)
    assert not client.is_model_ready("add_mul")
    # An unload answers at once; what waits for its end is UNLOADING until then.
    gone = {"add_mul": {"1": "UNAVAILABLE"}, "m": {"1": "READY"}}
    eventually(lambda: explicit.index() == gone, "the end of add_mul")
    with pytest.raises(InferenceServerException, match="'add_mul' is not served: it is not loaded"):
        client.get_model_metadata("add_mul")
    client.load_model("add_mul")
    assert explicit.index()["add_mul"] == {"1": "READY"}


def test_a_model_that_was_put_there_later_can_be_loaded(explicit):
    with pytest.raises(InferenceServerException, match="there is no model 'later'"):
        explicit.client.load_model("later")
    explicit.put("later", 7, made.scaled(7))
    explicit.client.load_model("later")
    assert explicit.client.is_model_ready("later", "7")


@pytest.mark.parametrize("explicit", [(), ("--loops", "2")], ids=["one", "two"], indirect=True)
def test_what_is_broken_is_explained_and_the_old_version_goes_on(explicit):
    explicit.put("m", 2, b"no model")
    with pytest.raises(InferenceServerException, match="model 'm' was not loaded: "):
        explicit.client.load_model("m")
    assert explicit.index()["m"] == {"1": "READY", "2": "UNAVAILABLE"}
    # The very version that is served is written anew, and is broken then.
    (explicit.repository / "m" / "2" / "model.onnx").unlink()
    (explicit.repository / "m" / "2").rmdir()
    (explicit.repository / "m" / "1" / "model.onnx").write_bytes(b"no model either")
    with pytest.raises(InferenceServerException, match="model 'm' was not loaded: "):
        explicit.client.load_model("m")
    assert ask(explicit.server) == (1, 1)
    (explicit.repository / "m" / "1" / "model.onnx").write_bytes(made.scaled(5))
    explicit.client.load_model("m")
    assert ask(explicit.server) == (1, 5)


def test_many_loads_at_once_are_all_answered(explicit):
    explicit.put("m", 2, made.scaled(2))
    statuses: list[int] = []

    def load() -> None:
        path = "/v2/repository/models/m/load"
        statuses.append(explicit.server.request("POST", path, b"{}").status)

    threads = [threading.Thread(target=load) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 30
    assert explicit.server.log_text().count("was loaded") == 30
    assert ask(explicit.server) == (2, 2)


def ask(server: Server) -> tuple[int, int]:
    """The version that an answer says it is from, and the one that its numbers are from."""
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 1]}]}
    answer = server.post("m", body)
    assert answer.status == 200, answer
    return int(answer.json["model_version"]), round(answer.json["outputs"][0]["data"][0])


@dataclass
class Traffic:
    """Asks one after the other on one connection, and remembers what is wrong."""

    server: Server
    # What is certainly served when a request is sent.
    oldest: int = 1
    answers: int = 0
    versions: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    is_over: bool = False

    def run(self) -> None:
        body = json.dumps(
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 1]}]}
        )
        connection = http.client.HTTPConnection(HOST, self.server.port, timeout=30)
        while not self.is_over:
            oldest = self.oldest
            connection.request("POST", "/v2/models/m/infer", body)
            response = connection.getresponse()
            text = response.read()
            self.answers += 1
            if response.status != 200:
                self.wrong.append(f"{response.status}: {text!r}")
                continue
            answer = json.loads(text)
            version, factor = int(answer["model_version"]), answer["outputs"][0]["data"][0]
            self.versions.add(version)
            if factor != version or version < oldest:
                self.wrong.append(f"version {version} gave {factor}, {oldest} was served already")
        connection.close()


@pytest.mark.parametrize(
    "explicit", [(), ("--loops", "2"), ("--loops", "2", "--loop-kind", "thread")],
    ids=["one", "processes", "threads"], indirect=True,
)  # fmt: skip
def test_no_request_fails_while_versions_are_swapped(explicit):
    traffic = [Traffic(explicit.server) for _ in range(3)]
    threads = [threading.Thread(target=one.run) for one in traffic]
    for thread in threads:
        thread.start()
    try:
        for version in range(2, 2 + SWAPS):
            explicit.put("m", version, made.scaled(version))
            explicit.client.load_model("m")
            for one in traffic:
                one.oldest = version
            before = [one.answers for one in traffic]
            deadline_s = time.monotonic() + 30
            while any(one.answers <= count for one, count in zip(traffic, before, strict=True)):
                assert time.monotonic() < deadline_s, "no answer came"
                time.sleep(0.001)
    finally:
        for one in traffic:
            one.is_over = True
        for thread in threads:
            thread.join()
    assert [text for one in traffic for text in one.wrong] == []
    assert set().union(*(one.versions for one in traffic)) >= set(range(2, 2 + SWAPS))
    assert explicit.index()["m"][str(1 + SWAPS)] == "READY"
