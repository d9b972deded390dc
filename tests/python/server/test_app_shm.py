"""Clients over shared memory in a server's life: its start, its metrics, its end, its successor."""

from __future__ import annotations

import re
import socket
import stat
import uuid

import pytest

from fastserve.client.shm import CallError, ShmClient, ShmRequest
from tests.python.server.conftest import Running, add_identity, until

PAIR = [1.5, -2.0]


@pytest.fixture
def name() -> str:
    """An abstract name that nobody else has."""
    return f"@fastserve-test-{uuid.uuid4().hex}"


def connected(address: str, segment_bytes: int = 1 << 20) -> ShmClient:
    """A client that does not wait long for a server that has gone."""
    return ShmClient(address, segment_bytes=segment_bytes, connect_timeout=0.2)


def check_serves(client: ShmClient) -> None:
    assert client.infer("plain", {"x": PAIR})["y"].tolist() == PAIR


def check_is_gone(client: ShmClient) -> None:
    with pytest.raises(CallError) as gone:
        check_serves(client)
    assert gone.value.code == "UNAVAILABLE"


def sent(client: ShmClient) -> ShmRequest:
    request = client.request("slow")
    request.inputs["x"][:] = PAIR
    request.send()
    return request


def metric(server: Running, name: str, labels: str = "") -> float:
    text = server.get("/metrics").body.decode()
    found = re.search(rf"^fastserve_shm_{name}{re.escape(labels)} (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


def has_shm(server: Running) -> bool:
    return b"fastserve_shm" in server.get("/metrics").body


@pytest.mark.parametrize("loops", [(), ("--loops", "2", "--loop-kind", "thread")])
def test_a_client_finds_the_server_by_its_port(start, repository, loops):
    add_identity(repository, "plain")
    server: Running = start(repository, *loops).await_ready()
    address = f"@fastserve-{server.port}"
    assert f"listening on {address} for clients over shared memory" in server.log()
    with connected(address) as client:
        check_serves(client)
        with pytest.raises(CallError) as ended:
            client.infer("none", {"x": PAIR})
        assert ended.value.code == "NOT_FOUND"
        assert metric(server, "clients") == 1
        assert metric(server, "segment_bytes") == client.segment_bytes
        # What a model takes is asked by a request of its own.
        assert metric(server, "requests_total") == 3
        assert metric(server, "responses_total") == 2
        assert metric(server, "ends_total", '{code="OK"}') == 2
        assert metric(server, "ends_total", '{code="NOT_FOUND"}') == 1
    until(lambda: metric(server, "clients") == 0, "the client's end to be seen")
    assert metric(server, "clients_opened_total") == 1
    assert metric(server, "in_flight_requests") == metric(server, "violations_total") == 0
    assert server.end() == 0


def test_there_are_as_many_clients_and_as_much_memory_as_the_options_say(start, repository, name):
    add_identity(repository, "plain")
    limits = ("--max-shm-clients", "1", "--max-shm-bytes", "1MiB", "--shm-spin", "0")
    server: Running = start(repository, "--shm-socket", name, *limits).await_ready()
    with connected(name, segment_bytes=64 << 20) as client:
        check_serves(client)
        assert client.segment_bytes == 1 << 20
        with connected(name) as second, pytest.raises(CallError) as refused:
            check_serves(second)
        assert refused.value.code == "RESOURCE_EXHAUSTED"
        assert "--max-shm-clients" in refused.value.message
        check_serves(client)
    assert metric(server, "clients_refused_total") == 1
    assert server.end() == 0


@pytest.mark.parametrize("flags", [("--shm-socket", "off"), ("--shared-memory", "off")])
def test_it_can_be_turned_off(start, repository, flags):
    add_identity(repository, "plain")
    server: Running = start(repository, *flags).await_ready()
    assert "over shared memory" not in server.log()
    assert not has_shm(server)
    assert server.end() == 0


def test_models_in_processes_have_no_address_and_the_log_says_so(start, repository, fastserve):
    add_identity(repository, "plain")
    processes = (repository, "--loops", "2", "--loop-kind", "process")
    server: Running = start(*processes).await_ready()
    assert "no clients over shared memory: the models are in the processes" in server.log()
    assert not has_shm(server)
    assert server.end() == 0
    done = fastserve("run", *processes, "--shm-socket", "@a")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --shm-socket is @a, and with --loops 2 the models are")


def test_a_taken_address_ends_the_server_before_it_loads(start, repository, fastserve, name):
    add_identity(repository, "slow", delay_us=2_000_000)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(name.replace("@", "\0"))
        done = fastserve("run", repository, "--port", "0", "--shm-socket", name)
    assert done.returncode == 2
    assert f"the server cannot start: --shm-socket {name}: another program" in done.stderr
    assert "nothing was cut off" in done.stderr


def test_a_taken_address_that_nobody_asked_for_is_a_warning(start, repository):
    add_identity(repository, "plain")
    with (
        socket.create_server(("127.0.0.1", 0)) as free,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other,
    ):
        port = free.getsockname()[1]
        free.close()
        other.bind(f"\0fastserve-{port}")
        server: Running = start(repository, "--port", str(port)).await_ready()
    assert f"no clients over shared memory: --shm-socket @fastserve-{port}: another" in server.log()
    assert server.end() == 0


def test_a_file_is_private_replaced_and_gone_at_the_end(start, repository, tmp_path):
    add_identity(repository, "plain")
    path = tmp_path / "shm.socket"
    first: Running = start(repository, "--shm-socket", path).await_ready()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first.process.kill()
    first.process.wait()
    assert path.exists()
    second: Running = start(repository, "--shm-socket", path).await_ready()
    with connected(str(path)) as client:
        check_serves(client)
        assert second.end() == 0
        check_is_gone(client)
    assert not path.exists()


def arrived(server: Running, client: ShmClient) -> ShmRequest:
    """A request that the model has."""
    request = sent(client)
    until(lambda: metric(server, "in_flight_requests") == 1, "the request to arrive")
    return request


def test_a_request_in_flight_finishes(start, repository, name):
    add_identity(repository, "slow", delay_us=1_500_000)
    server: Running = start(repository, "--shm-socket", name).await_ready()
    with connected(name) as client:
        request = arrived(server, client)
        assert server.end() == 0
        assert request.result()["y"].tolist() == PAIR
        check_is_gone(client)
    assert "nothing was cut off" in server.log()


def test_a_request_that_takes_too_long_is_cut_off_and_said(start, repository, name):
    add_identity(repository, "slow", delay_us=5_000_000)
    flags = ("--shm-socket", name, "--drain-timeout", "200ms")
    server: Running = start(repository, *flags).await_ready()
    with connected(name) as client:
        request = arrived(server, client)
        assert server.end() == 0
        with pytest.raises(CallError) as cut_off:
            request.result()
        assert cut_off.value.code in ("CANCELLED", "UNAVAILABLE")
    assert "cut off: 1 request, 0 connections" in server.log()


# While the first one drains, the second has the address already; each client stays with its own.
def test_a_successor_takes_the_address_over(start, repository):
    add_identity(repository, "slow", delay_us=2_000_000)
    add_identity(repository, "plain")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = (repository, "--port", str(port), "--reuse-port")
    address = f"@fastserve-{port}"
    listening = f"listening on {address} for clients"
    first: Running = start(*shared)
    first.await_log("is serving at")
    first.await_log(listening)
    second: Running = start(*shared)
    second.await_log(f"clients over shared memory are served once {address} is free")
    second.await_log("is serving at")
    assert listening not in second.log()
    with connected(address) as client:
        request = sent(client)
        check_serves(client)  # Then the one before it was taken, too.
        first.process.terminate()
        second.await_log(listening)
        with connected(address) as other:
            check_serves(other)
        assert request.result()["y"].tolist() == PAIR
    assert first.process.wait(30) == 0
    assert "nothing was cut off" in first.log()
    assert second.end() == 0
