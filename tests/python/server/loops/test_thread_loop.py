"""Several threads behind one port: each with its loop, all with one engine and its batches."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from typing import Any

import pytest

from fastserve import _core
from fastserve.config.options import Options
from fastserve.errors import Error
from fastserve.server.loops.fleet import Fleet
from fastserve.server.loops.member import ForwardedRequest
from fastserve.server.loops.thread_loop import ThreadLoop
from fastserve.server.sockets import listen
from tests.python.server.conftest import PAIR, Running, add_identity, until

THREADS = ("--loops", "3", "--loop-kind", "thread")


def total(server: Running, name: str) -> float:
    lines = server.get("/metrics").body.decode().splitlines()
    found = [float(line.rsplit(" ", 1)[1]) for line in lines if re.split(r"[{ ]", line)[0] == name]
    assert found, name
    return sum(found)


def test_it_is_one_server_to_its_clients(start, repository):
    add_identity(repository, "plain")
    server: Running = start(repository, *THREADS).await_ready()
    for _ in range(30):
        assert server.infer("plain", PAIR).json["outputs"][0]["data"] == PAIR["data"]
        assert server.get("/v2/models/none").status == 404
    assert total(server, "fastserve_requests_total") == 30
    assert total(server, "fastserve_loops") == 3
    assert server.end() == 0
    assert "nothing was cut off" in server.log()


# 24 connections are spread over three loops; within the delay all of them join one batch.
def test_requests_of_different_loops_share_a_batch(start, repository):
    add_identity(
        repository,
        "joined",
        extra="dynamic_batching { max_queue_delay_microseconds: 500000 }",
    )
    config = repository / "joined" / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 0", "max_batch_size: 24"))
    server: Running = start(repository, *THREADS).await_ready()
    row = {**PAIR, "shape": [1, 2]}
    replies: list[Any] = []
    askers = [
        threading.Thread(target=lambda: replies.append(server.infer("joined", row)))
        for _ in range(24)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert all(reply.json["outputs"][0]["data"] == PAIR["data"] for reply in replies)
    assert total(server, "fastserve_rows_total") == 24
    assert total(server, "fastserve_executions_total") <= 4  # Alone, each of the loops takes more.
    assert server.end() == 0


def test_what_is_in_flight_finishes_at_the_end(start, repository):
    # Long enough for a scrape of a busy machine to see it.
    add_identity(repository, "slow", delay_us=4_000_000)
    server: Running = start(repository, *THREADS).await_ready()
    replies: list[Any] = []
    asker = threading.Thread(target=lambda: replies.append(server.infer("slow", PAIR)))
    asker.start()
    until(lambda: total(server, "fastserve_in_flight_bytes") > 0, "the request to arrive")
    assert server.end() == 0
    asker.join()
    assert replies[0].status == 200


class Stage:
    """A fleet of threads in this process, on a port of its own."""

    def __init__(self, loops: int) -> None:
        self.sockets = listen.bind_loops("127.0.0.1", 0, loops)
        self.port = self.sockets[0].getsockname()[1]
        self.asked: list[ForwardedRequest] = []
        self.made: list[ThreadLoop] = []
        options = Options(loops=loops)
        serving_map = _core.ServingMap()

        def make(number: int) -> ThreadLoop:
            sockets = listen.of_loop(self.sockets, number, loops)
            made = ThreadLoop(number, options, serving_map, sockets, self.answer)
            self.made.append(made)
            return made

        self.fleet = Fleet(options, make)

    def answer(self, request: ForwardedRequest) -> None:
        self.asked.append(request)
        request.respond(200, b"here", [("Content-Type", "text/plain")])

    async def get(self) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /a%20b?c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    async def __aenter__(self) -> Stage:
        await self.fleet.start()
        await self.fleet.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.fleet.drain()
        for sock in self.sockets:
            sock.close()


def test_control_requests_are_answered_on_the_parents_loop():
    async def act() -> None:
        async with Stage(2) as stage:
            answers = [await stage.get() for _ in range(6)]
        assert all(answer.endswith(b"\r\n\r\nhere") for answer in answers)
        assert {(r.method, r.path, r.query) for r in stage.asked} == {("GET", "/a b", "c")}

    asyncio.run(act())


def test_a_loop_that_breaks_is_started_again():
    async def act() -> None:
        async with Stage(2) as stage:
            requests = [await stage.get() for _ in range(8)]
            assert (await stage.fleet.collect()).gateway["requests"] == len(requests)
            broken = stage.made[0]
            broken._loop.call_soon_threadsafe(sys.exit, "out of luck")
            end = await broken.ended
            assert end.cause == "SystemExit: out of luck"
            while stage.fleet.states()["serving"] != 2 or len(stage.made) < 3:
                await asyncio.sleep(0.01)
            # Whichever socket the kernel chooses, a loop accepts from it.
            assert all([(await stage.get()).endswith(b"here") for _ in range(16)])
            assert (await stage.fleet.collect()).gateway["requests"] == 24
            assert stage.fleet.restarts == 1

    asyncio.run(act())


def test_a_loop_that_has_ended_is_told_to_who_asks_it():
    async def act() -> None:
        async with Stage(1) as stage:
            member = stage.made[0]
            member.begin_drain()
            await member.ended
            with pytest.raises(Error, match="loop 0 ended with its drain"):
                await member.snapshot()

    asyncio.run(act())
