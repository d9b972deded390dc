"""A server that goes while it is asked, and one that takes its place."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fastserve.client.shm import AsyncShmClient, CallError, ShmClient
from tests.python.client.conftest import LIMIT_S
from tests.python.client.shm.conftest import failure
from tests.served import Repository, Server

ROW = np.arange(4, dtype=np.float32)


@pytest.fixture
def models(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "models")
    made.add_identity("fixed", dims="4")
    made.add_identity("slow", dims="4", delay_us=1_000_000)
    return made


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "shm.sock")


def await_loss(client: ShmClient) -> None:
    """It takes a moment to see that a server has gone; what is sent meanwhile fails."""
    deadline_s = time.monotonic() + LIMIT_S
    while client.is_connected:
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def test_the_next_request_connects_anew(models, address, caplog):
    client = ShmClient(address, timeout=LIMIT_S)
    with Server(models.path, "--shm-socket", address) as first:
        kept = client.infer("fixed", {"x": ROW})["y"]
        request = client.request("slow")
        request.inputs["x"][:] = ROW
        request.send()
        threading.Timer(0.1, first.kill).start()
        error = failure(request.result)
        assert error.code == "UNAVAILABLE"
        assert error.is_retryable
        assert "has gone" in error.message
        assert not client.is_connected
    with Server(models.path, "--shm-socket", address) as second:
        assert client.infer("fixed", {"x": 2 * ROW})["y"].tolist() == (2 * ROW).tolist()
        assert client.server_pid == second.pid
        assert client.reconnects == 1
        (warning,) = caplog.records
        assert warning.levelname == "WARNING"
        assert f"anew, to process {second.pid}" in warning.getMessage()
        for call in (request.result, request.send, lambda: request.inputs.__setitem__("x", [0])):
            error = failure(call)
            assert error.code == "UNAVAILABLE"
            assert "this request with it: the client's next one connects anew" in error.message
        client.close()
    assert kept.tolist() == ROW.tolist()


def test_it_waits_for_a_server_that_comes_back(models, address):
    with ShmClient(address, timeout=LIMIT_S, connect_timeout=LIMIT_S) as client:
        with Server(models.path, "--shm-socket", address):
            client.infer("fixed", {"x": ROW})
        await_loss(client)
        results = []

        def ask() -> None:
            # It listens before it has loaded its models.
            client.wait_until_ready("fixed", timeout=LIMIT_S)
            results.append(client.infer("fixed", {"x": ROW}))

        waiting = [threading.Thread(target=ask) for _ in range(3)]
        for thread in waiting:
            thread.start()
        with Server(models.path, "--shm-socket", address):
            for thread in waiting:
                thread.join(LIMIT_S)
            assert len(results) == 3
            assert client.reconnects == 1
            client.close()


def test_one_that_stays_away_is_unavailable(models, address):
    with ShmClient(address, timeout=LIMIT_S, connect_timeout=0.3) as client:
        with Server(models.path, "--shm-socket", address):
            client.infer("fixed", {"x": ROW})
        await_loss(client)
        begun = time.monotonic()
        error = failure(lambda: client.infer("fixed", {"x": ROW}))
        assert error.code == "UNAVAILABLE"
        assert "is it running" in error.message
        assert 0.1 < time.monotonic() - begun < 3
        begun = time.monotonic()
        timer = threading.Timer(0.05, client.close)
        timer.start()
        assert failure(lambda: client.request("fixed")).message == "the client is closed"
        timer.join()


def test_on_a_loop(models, address, caplog):
    async def main() -> None:
        async with AsyncShmClient(address, timeout=LIMIT_S) as client:
            with Server(models.path, "--shm-socket", address) as first:
                await client.infer("fixed", {"x": ROW})
                request = await client.request("fixed")
                tasks = [asyncio.create_task(client.infer("slow", {"x": ROW})) for _ in range(3)]
                await asyncio.sleep(0.1)
                first.kill()
                for done in await asyncio.gather(*tasks, return_exceptions=True):
                    assert isinstance(done, CallError)
                    assert done.code == "UNAVAILABLE"
            with Server(models.path, "--shm-socket", address) as second:
                results = await asyncio.gather(
                    *(client.infer("fixed", {"x": ROW}) for _ in range(20))
                )
                assert all((one["y"] == ROW).all() for one in results)
                assert (client.reconnects, client.server_pid) == (1, second.pid)
                with pytest.raises(CallError, match="the client's next one connects anew"):
                    await request.result()
                await client.close()

    asyncio.run(asyncio.wait_for(main(), 3 * LIMIT_S))
    assert len(caplog.records) == 1
