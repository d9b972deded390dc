"""Servers of one address find each other, and share its listening sockets."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from fastserve.errors import Error
from fastserve.server.loops import hand_over
from fastserve.server.loops.hand_over import HandOver, name_of, open_shared, take_over


@pytest.fixture
def port() -> int:
    """A free one: sharing one is asked for by its number."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        free: int = sock.getsockname()[1]
        return free


def close(*servers: HandOver) -> None:
    for server in servers:
        for sock in server.sockets:
            sock.close()


def identities(server: HandOver) -> set[int]:
    return {os.fstat(sock.fileno()).st_ino for sock in server.sockets}


async def opened(port: int, loops: int = 1) -> HandOver:
    """On a thread, as in another process: the one before has to answer meanwhile."""
    server = await asyncio.to_thread(open_shared, "127.0.0.1", port, loops)
    server.begin()
    return server


async def until(holds) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


def test_the_second_server_has_the_sockets_of_the_first(port):
    async def act() -> None:
        first = await opened(port, loops=3)
        assert not first.waits_until_ready
        second = await opened(port, loops=2)
        assert second.waits_until_ready
        assert identities(second) == identities(first)
        assert len(second.sockets) == 3
        first.end()
        second.end()
        close(first, second)

    asyncio.run(act())


# The point of it all: who has connected is not lost when the one that listened at first ends.
def test_what_waits_in_the_backlog_outlives_the_first(port):
    async def act() -> None:
        first = await opened(port)
        second = await opened(port)
        second.say_ready()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"question")
            assert await first.find_successor(10)
            first.end()
            close(first)
            accepted, _ = second.sockets[0].accept()
            with accepted:
                assert accepted.recv(100) == b"question"
                accepted.sendall(b"answer")
            assert client.recv(100) == b"answer"
        second.end()
        close(second)

    asyncio.run(act())


def test_a_server_without_another_has_no_successor(port):
    async def act() -> None:
        only = await opened(port)
        assert not await only.find_successor(10)
        only.end()
        close(only)

    asyncio.run(act())


def test_one_that_is_about_to_serve_is_waited_for(port):
    async def act() -> None:
        first = await opened(port)
        second = await opened(port)
        await until(lambda: first._peers)
        waiting = asyncio.create_task(first.find_successor(10))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        second.say_ready()
        assert await waiting
        first.end()
        second.end()
        close(first, second)

    asyncio.run(act())


def test_one_that_gives_up_is_not_waited_for_any_longer(port):
    async def act() -> None:
        first = await opened(port)
        second = await opened(port)
        await until(lambda: first._peers)
        waiting = asyncio.create_task(first.find_successor(10))
        await asyncio.sleep(0)
        second.end()
        assert not await waiting
        first.end()
        close(first, second)

    asyncio.run(act())


def test_the_younger_may_end_first(port):
    async def act() -> None:
        first = await opened(port)
        second = await opened(port)
        assert await second.find_successor(10)
        second.end()
        await until(lambda: not first._peers)
        first.end()
        close(first, second)

    asyncio.run(act())


# Two that took over from one that has gone: one of them has the name now, the other finds it.
def test_those_that_are_left_find_each_other(port):
    async def act() -> None:
        first = await opened(port)
        second, third = await opened(port), await opened(port)
        second.say_ready()
        third.say_ready()
        first.end()
        close(first)
        await until(lambda: bool(second._peers) or bool(third._peers))
        fourth = await opened(port)
        assert identities(fourth) == identities(second) == identities(third)
        await until(lambda: any(second._peers.values()) or any(third._peers.values()))
        assert await second.find_successor(10)
        assert await third.find_successor(10)
        for server in (second, third, fourth):
            server.end()
            close(server)

    asyncio.run(act())


def test_a_program_that_does_not_hand_over_is_told(port, monkeypatch, caplog):
    monkeypatch.setattr(hand_over, "_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", port), reuse_port=True):
        server = open_shared("127.0.0.1", port, 1)
        server.end()
        close(server)
    assert "does not hand over its socket" in caplog.text


def test_a_port_that_cannot_be_shared_is_an_error(port, monkeypatch):
    monkeypatch.setattr(hand_over, "_TIMEOUT_S", 0.05)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(Error, match="does not share it: start both"),
    ):
        open_shared("127.0.0.1", port, 1)


# A program of the same user may have the name, and something else to give.
def test_sockets_that_are_not_of_the_address_are_refused(port):
    address = ("127.0.0.1", port)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as liar,
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.socket() as deaf,
    ):
        liar.bind(name_of(address))
        liar.listen()
        for fds in ([other.fileno()], [deaf.fileno()], []):
            client = asyncio.run(_answer(liar, address, fds))
            assert client is None


async def _answer(liar: socket.socket, address: tuple[str, int], fds: list[int]) -> object:
    asking = asyncio.create_task(asyncio.to_thread(take_over, address))
    peer, _ = await asyncio.to_thread(liar.accept)
    with peer:
        if fds:
            socket.send_fds(peer, [b"fastserve 1"], fds)
        else:
            peer.sendall(b"fastserve 1")
        return await asking
