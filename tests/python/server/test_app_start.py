"""What keeps a server from starting, and what it can be told."""

from __future__ import annotations

import json
import os
import socket
import stat

import pytest

from fastserve.server import access_log
from tests.python.server.conftest import CLEAN, DIGITS, PAIR, add_digits, add_identity


def test_a_taken_port_is_one_line(fastserve):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = fastserve("run", DIGITS, "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: 127.0.0.1:{port} is in use; choose another with --port")
    assert done.stderr.count("\n") == 1


def test_two_models_of_one_name_are_one_line(fastserve, repository):
    add_digits(repository)
    done = fastserve("run", DIGITS, repository)
    assert done.returncode == 2
    assert done.stderr.startswith("error: two models are called 'digits': ")
    assert done.stderr.count("\n") == 1


# A package of the engine's name without its library: as if it were broken or missing.
def test_a_missing_engine_is_one_line(fastserve, tmp_path):
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    path = os.pathsep.join(filter(None, [str(tmp_path), CLEAN.get("PYTHONPATH", "")]))
    done = fastserve("run", DIGITS, "--port", "0", environment={"PYTHONPATH": path})
    assert done.returncode == 2
    assert done.stderr.startswith("error: no libonnxruntime.so in ")
    assert "pip install" in done.stderr
    assert done.stderr.count("\n") == 1


def test_models_without_the_engine_are_served_without_it(start, repository, tmp_path):
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    path = os.pathsep.join(filter(None, [str(tmp_path), CLEAN.get("PYTHONPATH", "")]))
    add_identity(repository, "plain")
    server = start(repository, environment={"PYTHONPATH": path}).await_ready()
    assert server.infer("plain", PAIR).status == 200


def test_one_named_file_that_does_not_load_ends_the_server_with_its_reason(fastserve, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no model")
    done = fastserve("run", broken, "--port", "0")
    assert done.returncode == 1
    assert "broken" in done.stderr
    assert "is not served: " in done.stderr


def test_a_repository_whose_models_all_fail_stays_up_and_says_why(start, repository):
    (repository / "broken" / "1").mkdir(parents=True)
    (repository / "broken" / "1" / "model.onnx").write_bytes(b"this is no model")
    server = start(repository).await_ready()
    reply = server.get("/v2/models/broken/ready")
    assert reply.status == 503
    assert reply.json["error"].startswith("model 'broken' is not served: ")
    assert server.get("/").json["models"]["broken"]["reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prot", "1"], "unknown option '--prot'; did you mean '--port'?"),
        (["--port", "70000"], "--port: expected an integer from 0 to 65535, found '70000'"),
        (["--port"], "--port needs a value: --port PORT"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid: no such address"),
        (["--max-in-flight", "1kB"], "--max-in-flight is 1000 bytes, less than --max-body"),
    ],
)
def test_wrong_options_are_one_line(fastserve, arguments, message):
    done = fastserve("run", DIGITS, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert done.stderr.count("\n") == 1


# Each source beats the one before: file, environment, command line.
def test_options_come_from_a_file_the_environment_and_the_command_line(start, tmp_path):
    file = tmp_path / "server.toml"
    file.write_text(
        f'paths = ["{DIGITS}"]\nmax_batch = 4\nname = "from_file"\nlog_level = "debug"\n'
    )
    environment = {"FASTSERVE_MAX_BATCH": "8", "FASTSERVE_NAME": "from_environment"}
    server = start("--config", file, "--name", "from_flag", environment=environment).await_ready()
    assert server.get("/v2/models/from_flag/config").json["max_batch_size"] == 8


def test_a_wrong_option_in_a_file_is_named_with_its_line(fastserve, tmp_path):
    file = tmp_path / "server.toml"
    file.write_text("max_batch = 4\nprot = 9000\n")
    done = fastserve("run", DIGITS, "--config", file)
    assert done.returncode == 2
    assert done.stderr == f"error: {file}:2: prot: no such option; did you mean 'port'?\n"


def test_a_wrong_variable_is_named(fastserve):
    done = fastserve("run", DIGITS, environment={"FASTSERVE_PORT": "many"})
    assert done.returncode == 2
    assert done.stderr.startswith("error: FASTSERVE_PORT: expected an integer")


def test_an_unknown_variable_is_a_warning(start):
    server = start(DIGITS, environment={"FASTSERVE_MAX_BACH": "8"}).await_ready()
    assert (
        "FASTSERVE_MAX_BACH is not an option; did you mean 'FASTSERVE_MAX_BATCH'?" in server.log()
    )


def test_the_access_log_is_one_json_object_a_line(start, repository):
    add_identity(repository, "plain")
    server = start(repository, "--access-log", "--log-format", "json").await_ready()
    assert server.infer("plain", PAIR).status == 200
    assert server.get("/v2/models/none").status == 404
    server.await_log("/v2/models/none")
    lines = [json.loads(line) for line in server.log().splitlines()]
    records = [line for line in lines if line.get("event") == "access"]
    (inference,) = [record for record in records if record["path"] == "/v2/models/plain/infer"]
    assert inference["method"] == "POST"
    assert inference["status"] == 200
    assert inference["model"] == "plain"
    assert int(inference["version"]) == 1
    phases = [inference[f"{phase}_ns"] for phase in access_log.PHASES]
    assert min(phases) >= 0
    assert inference["total_ns"] >= sum(phases)
    assert any(record["status"] == 404 for record in records)


def test_a_unix_socket_is_private_and_gone_at_the_end(start, repository, tmp_path):
    add_identity(repository, "plain")
    path = tmp_path / "fastserve.socket"
    server = start(repository, "--unix-socket", path).await_ready()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert server.end() == 0
    assert not path.exists()


def test_the_socket_of_a_server_that_was_killed_is_replaced(start, repository, tmp_path):
    add_identity(repository, "plain")
    path = tmp_path / "fastserve.socket"
    first = start(repository, "--unix-socket", path).await_ready()
    first.process.kill()
    first.process.wait()
    assert path.exists()
    start(repository, "--unix-socket", path).await_ready()


def test_the_socket_of_a_living_server_is_left_alone(start, fastserve, repository, tmp_path):
    add_identity(repository, "plain")
    path = tmp_path / "fastserve.socket"
    start(repository, "--unix-socket", path).await_ready()
    done = fastserve("run", repository, "--port", "0", "--unix-socket", path)
    assert done.returncode == 2
    assert "another server listens on it" in done.stderr
    assert path.exists()
