"""The soak's clients over HTTP/2: gRPC calls and streams by fastserve's own client, REST by h2load;
and readers of server-sent events.

As the others, each knows what becomes of every request that it sent.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from fastserve.client import AsyncClient, CallError
from tests.attacks.raw_http import post
from tests.served import HOST
from tools.soak.clients import Ledger, Peer
from tools.soak.requests import CROWDED, MANY, Requests

CALLS = 20
BURST, BURST_CONNECTIONS, BURST_STREAMS = 200, 4, 8
BURST_WITHIN_S = 60
# What a server that has too much to do may say.
REFUSALS = {"RESOURCE_EXHAUSTED": 429, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504}
EVENT = re.compile(rb"data: (.*)\n\n")


class Callers:
    def __init__(
        self, port: int, requests: Requests, ledger: Ledger, chance: random.Random
    ) -> None:
        self._address = f"{HOST}:{port}"
        self._port = port
        self._requests = requests
        self._ledger = ledger
        self._chance = chance

    async def calls(self) -> None:
        """Calls that share a connection, a few of which are given up."""
        async with AsyncClient(f"grpc://{self._address}") as client:
            tasks = [asyncio.create_task(self._call(client)) for _ in range(CALLS)]
            await asyncio.sleep(self._chance.choice((0.0, 0.001, 0.01)))
            for task in self._chance.sample(tasks, 3):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._ledger.kinds["grpc calls"] += CALLS

    async def _call(self, client: AsyncClient) -> None:
        number = self._requests.next_number()
        model, columns = self._chance.choice(
            ((CROWDED, 4), (CROWDED, 16), (CROWDED, 16), (CROWDED, 150_000), ("slow", 4))
        )
        sent = np.full((1, columns), number % 100_000, np.float32)
        timeout = self._chance.choice((0.01, 5.0)) if model == "slow" else 30.0

        async def ask() -> None:
            result = await client.infer(model, {"x": sent}, id=str(number), timeout=timeout)
            (came,) = result.values()
            assert result.id == str(number), f"{result.id} for {number}"
            assert np.array_equal(came, sent), f"{model} is wrong for {number}"

        await self._judged(ask)

    async def stream(self) -> None:
        """All of a stream, or some of it; quickly or slowly."""
        number = self._requests.next_number()
        sent = np.full((1, self._chance.choice((4, 10_000))), number % 100_000, np.float32)
        leaves_at = self._chance.choice((MANY, MANY, 3))

        async def read() -> None:
            seen = 0
            async with AsyncClient(f"grpc://{self._address}") as client:
                results = client.stream("many", {"x": sent}, id=str(number))
                async for result in results:
                    (came,) = result.values()
                    assert result.id == str(number), f"{result.id} for {number}"
                    assert np.array_equal(came, sent), f"a stream is wrong for {number}"
                    seen += 1
                    if seen == leaves_at:
                        break
                    if self._chance.random() < 0.05:
                        await asyncio.sleep(0.01)
                await results.aclose()
            assert seen == leaves_at, f"{seen} responses of a stream, expected {leaves_at}"

        await self._judged(read)
        self._ledger.kinds["grpc streams"] += 1

    async def events(self) -> None:
        """A stream of server-sent events, or an error's status instead."""
        number = self._requests.next_number()
        body = json.dumps({"x": [float(number % 100_000)], "id": str(number)}).encode()
        sent = post("many", body, "Connection: close").replace(b"/infer ", b"/generate_stream ", 1)

        async def read() -> None:
            peer = await Peer.connect(self._port)
            try:
                await peer.send(sent)
                received = await peer.read_to_end()
            finally:
                await peer.close()
            assert received.startswith(b"HTTP/1.1 200 "), received[:200]
            found = [json.loads(event) for event in EVENT.findall(received)]
            assert len(found) == MANY, f"{len(found)} events, expected {MANY}"
            assert all(event["id"] == str(number) for event in found), f"not all are {number}'s"
            assert received.endswith(b"0\r\n\r\n"), received[-50:]

        await self._judged(read)
        self._ledger.kinds["event streams"] += 1

    async def burst(self) -> None:
        """REST over HTTP/2, by another program's client."""
        body = json.dumps(
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
        )
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "body"
            file.write_text(body)
            command = ["h2load", f"-n{BURST}", f"-c{BURST_CONNECTIONS}", f"-m{BURST_STREAMS}"]
            command += ["-d", str(file), "-H", "content-type: application/json"]
            url = f"http://{self._address}/v2/models/{CROWDED}/infer"
            process = await asyncio.create_subprocess_exec(
                *command, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            async with asyncio.timeout(BURST_WITHIN_S):
                output, _ = await process.communicate()
        found = re.search(rb"(\d+) 2xx, \d+ 3xx, (\d+) 4xx, (\d+) 5xx", output)
        right, refused, failed = map(int, found.groups()) if found else (0, 0, 0)
        self._ledger.right += right
        self._ledger.statuses[200] += right
        self._ledger.statuses[429] += refused
        self._ledger.statuses[503] += failed
        for _ in range(BURST - right - refused - failed):
            self._ledger.remember(self._ledger.lost, f"of h2load: {output[-300:]!r}")
        self._ledger.kinds["HTTP/2 bursts"] += 1

    async def _judged(self, ask: Callable[[], Awaitable[None]]) -> None:
        try:
            await ask()
        except CallError as error:
            status = REFUSALS.get(error.code)
            if status is None:
                self._ledger.remember(self._ledger.wrong, f"{error.code}: {error.message}")
            else:
                self._ledger.statuses[status] += 1
        except AssertionError as error:
            self._ledger.remember(self._ledger.wrong, str(error))
        except (OSError, EOFError, TimeoutError) as error:
            self._ledger.remember(self._ledger.lost, repr(error))
        else:
            self._ledger.statuses[200] += 1
            self._ledger.right += 1


# How long each pauses, in seconds.
GAPS_S: dict[Callable[[Callers], Awaitable[None]], float] = {
    Callers.calls: 0.1,
    Callers.stream: 0.3,
    Callers.events: 0.3,
    Callers.burst: 5.0,
}
