"""Requests over shared memory on an event loop, which waits by itself."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
import uvloop

from fastserve.client.shm import AsyncShmClient, CallError
from tests.python.client.conftest import LIMIT_S, MANY
from tests.python.client.shm.conftest import LATE
from tests.served import Server

ROW = np.arange(4, dtype=np.float32)
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
Body = Callable[[AsyncShmClient], Coroutine[Any, Any, None]]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest, server: Server) -> Callable[[Body], None]:
    """Runs a body with a client, which holds nothing afterwards."""

    async def main(body: Body) -> None:
        async with AsyncShmClient(server.port, timeout=LIMIT_S, segment_bytes=16 << 20) as client:
            await body(client)
            gc.collect()
            await client.infer("fixed", {"x": ROW})
            gc.collect()
            assert client.bytes_in_use == 0

    def run_on_a_loop(body: Body) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(asyncio.wait_for(main(body), 2 * LIMIT_S))

    return run_on_a_loop


async def failure(awaitable: Any) -> CallError:
    with pytest.raises(CallError) as caught:
        await awaitable
    return caught.value


def test_an_inference(run):
    async def body(client: AsyncShmClient) -> None:
        result = await client.infer("add_mul", {"a": [ROW], "b": [ROW]}, ["sum"], id="7")
        assert (result.model, result.id, set(result)) == ("add_mul", "7", {"sum"})
        assert result["sum"].tolist() == [(2 * ROW).tolist()]
        assert (await client.infer("strings", {"x": ["é"]}))["y"].tolist() == ["é".encode()]
        assert (await client.model_metadata("fixed")).inputs[0].shape == (4,)
        await client.wait_until_ready("fixed")
        assert client.is_connected
        assert client.segment_bytes == 16 << 20

    run(body)


def test_many_at_once_without_a_thread_for_them(run):
    async def body(client: AsyncShmClient) -> None:
        await client.infer("INT64", {"x": [0]})
        threads = threading.active_count()
        calls = [client.infer("INT64", {"x": np.full(4, i)}) for i in range(500)]
        waiting = asyncio.gather(*calls)
        await asyncio.sleep(0)
        assert threading.active_count() == threads
        for i, result in enumerate(await waiting):
            assert (result["y"] == i).all()

    run(body)


def test_a_request_that_is_sent_again(run):
    async def body(client: AsyncShmClient) -> None:
        async with client.request("fixed") as request:
            for i in range(50):
                request.inputs["x"][:] = i
                assert (await request.result())["y"].tolist() == [i] * 4
            request.send()
            assert (await request.result(LIMIT_S))["y"].tolist() == [49] * 4
        assert (await failure(request.result())).message.startswith("the request was closed")
        request = await client.request("rows", batch=3)
        assert request.inputs["x"].shape == (3, 3, 2)
        async with request:
            assert "AsyncShmRequest to rows" in repr(request)

    run(body)


def test_the_loop_runs_while_a_response_is_awaited(run):
    async def body(client: AsyncShmClient) -> None:
        slow = asyncio.create_task(client.infer("slow", {"x": ROW}))
        rounds = 0
        while not slow.done():
            await client.infer("fixed", {"x": ROW})
            rounds += 1
        assert rounds > 20
        assert (await slow)["y"].tolist() == ROW.tolist()

    run(body)


def test_errors(run):
    async def body(client: AsyncShmClient) -> None:
        assert (await failure(client.infer("nowhere", {}))).code == "NOT_FOUND"
        assert (await failure(client.infer("fixed", {"x": [1]}))).code == "INVALID_ARGUMENT"
        for _ in range(2):
            error = await failure(client.infer("fixed", {"x": np.zeros(4)}))
            assert "float64, expected float32" in error.message
        assert (await failure(client.request("fixed", batch=2))).code == "INVALID_ARGUMENT"
        assert (await failure(client.infer("none", {"x": ROW}))).code in (
            "INTERNAL",
            "INVALID_ARGUMENT",
        )
        with pytest.raises(TypeError, match="expected names and values"):
            await client.infer("fixed", ROW)  # type: ignore[arg-type]
        begun = time.monotonic()
        error = await failure(client.infer("slow", {"x": ROW}, timeout=0.05))
        assert error.code in LATE
        assert time.monotonic() - begun < 0.25
        assert not (await failure(client.wait_until_ready("nowhere", timeout=0.1))).is_answer

    run(body)


def test_waiting_less_than_it_takes(run):
    async def body(client: AsyncShmClient) -> None:
        async with client.request("slow", timeout=LIMIT_S) as request:
            request.inputs["x"][:] = ROW
            request.send()
            for wait in (0, 0.01):
                with pytest.raises(TimeoutError):
                    await request.result(wait)
            first = asyncio.create_task(request.result())
            await asyncio.sleep(0.01)
            error = await failure(request.result())
            assert error.message == "another task waits for this request"
            assert (await first)["y"].tolist() == ROW.tolist()
            assert (await failure(request.result(0.02))).code in LATE
            request.inputs["x"] = ROW + 1
            assert (await request.result())["y"].tolist() == (ROW + 1).tolist()

    run(body)


def test_cancelling(run):
    async def body(client: AsyncShmClient) -> None:
        slow = [asyncio.create_task(client.infer("slow", {"x": ROW})) for _ in range(3)]
        await asyncio.sleep(0.05)
        slow[1].cancel()
        done = await asyncio.gather(*slow, return_exceptions=True)
        assert isinstance(done[1], asyncio.CancelledError)
        for result in (done[0], done[2]):
            assert not isinstance(result, BaseException), result
            assert result["y"].tolist() == ROW.tolist()
        async with client.request("slow") as request:
            request.inputs["x"][:] = ROW
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(request.result(), 0.02)
            assert (await request.result())["y"].tolist() == ROW.tolist()
            request.send()
            request.cancel()
            assert (await failure(request.result())).code == "CANCELLED"

    run(body)


def test_streams(run):
    async def body(client: AsyncShmClient) -> None:
        seen = [one async for one in client.stream("many", {"x": ROW}, id="s")]
        assert len(seen) == MANY
        assert {one.id for one in seen} == {"s"}
        assert [one async for one in client.stream("none", {"x": ROW})] == []
        results = client.stream("many", {"x": ROW})
        async for _ in results:
            break
        await results.aclose()
        both = await asyncio.gather(*(_count(client) for _ in range(4)))
        assert both == [MANY] * 4

    run(body)


async def _count(client: AsyncShmClient) -> int:
    count = 0
    async for _ in client.stream("many", {"x": ROW}):
        count += 1
        await asyncio.sleep(0)
    return count


def test_closing_ends_what_is_awaited(server):
    async def main() -> None:
        client = AsyncShmClient(server.port)
        await client.infer("fixed", {"x": ROW})
        waiting = asyncio.create_task(client.infer("slow", {"x": ROW}))
        await asyncio.sleep(0.05)
        await client.close()
        assert (await failure(waiting)).message == "the client is closed"
        assert (await failure(client.infer("fixed", {"x": ROW}))).code == "FAILED_PRECONDITION"

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


def test_a_client_belongs_to_one_loop(server):
    client = AsyncShmClient(server.port)

    async def ask() -> None:
        await client.infer("fixed", {"x": ROW})

    asyncio.run(ask())
    with pytest.raises(CallError, match="belongs to another event loop"):
        asyncio.run(ask())


def test_nobody_listens(tmp_path):
    async def main() -> None:
        async with AsyncShmClient(str(tmp_path / "none")) as client:
            assert (await failure(client.infer("fixed", {"x": ROW}))).code == "UNAVAILABLE"

    asyncio.run(main())
