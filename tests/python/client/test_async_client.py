"""What only a loop can do: many calls at once, and giving them up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from fastserve.client import AsyncClient, CallError
from tests.python.client.conftest import LIMIT_S, MANY
from tests.served import Server

X = np.arange(4, dtype=np.float32)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, LIMIT_S))


def test_many_calls_at_once(scheme, server):
    async def main() -> None:
        async with AsyncClient(f"{scheme}://{server.address}", connections_max=4) as client:
            results = await asyncio.gather(
                *(client.infer("INT64", {"x": np.full(4, i)}) for i in range(1000))
            )
        for i, result in enumerate(results):
            assert (result["y"] == i).all()

    run(main())


def test_a_call_that_is_cancelled_takes_no_other_with_it(scheme, server: Server):
    async def main() -> None:
        async with AsyncClient(f"{scheme}://{server.address}") as client:
            await client.infer("FP32", {"x": X})
            slow = [asyncio.create_task(client.infer("slow", {"x": X})) for _ in range(3)]
            await asyncio.sleep(0.05)
            slow[1].cancel()
            done = await asyncio.gather(*slow, return_exceptions=True)
            assert isinstance(done[1], asyncio.CancelledError)
            for result in (done[0], done[2]):
                assert not isinstance(result, BaseException), result
                np.testing.assert_array_equal(result["y"], X)
            assert (await client.infer("FP32", {"x": X}))["y"].shape == (4,)

    run(main())
    server.check_healthy()


def test_leaving_a_stream_early(server: Server):
    async def main() -> None:
        async with AsyncClient(f"grpc://{server.address}") as client:
            seen = 0
            results = client.stream("many", {"x": X})
            async for _ in results:
                seen += 1
                if seen == 3:
                    break
            await results.aclose()
            assert len([one async for one in client.stream("many", {"x": X})]) == MANY

    run(main())
    server.check_healthy()


def test_a_slow_reader_holds_the_server_back(server: Server):
    large = np.zeros(100_000, np.float32)

    async def main() -> None:
        async with AsyncClient(f"grpc://{server.address}") as client:
            seen = 0
            async for result in client.stream("many", {"x": large}):
                await asyncio.sleep(0.002)
                assert result["y"].shape == large.shape
                seen += 1
            assert seen == MANY

    run(main())


def test_calls_fail_when_the_client_is_closed(scheme, server):
    async def main() -> None:
        client = AsyncClient(f"{scheme}://{server.address}")
        await client.infer("FP32", {"x": X})
        call = asyncio.create_task(client.infer("slow", {"x": X}, timeout=5))
        await asyncio.sleep(0.05)
        await client.close()
        if scheme == "grpc":
            with pytest.raises(CallError):
                await call
        else:
            await call  # It has a connection of its own.
        with pytest.raises(CallError, match="the client is closed"):
            await client.infer("FP32", {"x": X})
        await client.close()

    run(main())
