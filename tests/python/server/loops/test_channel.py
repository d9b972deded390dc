"""Messages between the parent and a loop arrive whole, in order, or not at all."""

from __future__ import annotations

import asyncio
import socket

from fastserve.server.loops.channel import Channel


async def pair() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair()
    return await Channel.open(ours), await Channel.open(theirs)


def test_messages_arrive_whole_and_in_order():
    async def talk() -> None:
        ours, theirs = await pair()
        big = bytes(range(256)) * 5000
        ours.send("load", big, id=1, name="ä")
        ours.send("stats", id=2)
        first, second = await theirs.receive(), await theirs.receive()
        assert first is not None
        assert second is not None
        assert (first.kind, first.id, first.fields["name"]) == ("load", 1, "ä")
        assert first.body == big
        assert (second.kind, second.body) == ("stats", b"")
        ours.close()
        theirs.close()

    asyncio.run(talk())


def test_the_end_of_the_other_side_is_told_also_within_a_message():
    async def talk() -> None:
        ours, theirs = socket.socketpair()
        channel = await Channel.open(theirs)
        ours.sendall(b"\0\0\0\x10\0\0\0\0{")
        ours.close()
        assert await channel.receive() is None
        channel.send("into the void")
        channel.close()

    asyncio.run(talk())


def test_flush_waits_until_the_peer_has_it_all():
    async def talk() -> None:
        ours, theirs = await pair()
        ours.send("answer", b"x" * (8 << 20), id=1)
        flushed = asyncio.ensure_future(ours.flush())
        received = await theirs.receive()
        await flushed
        ours.close()
        assert received is not None
        assert len(received.body) == 8 << 20
        assert await theirs.receive() is None
        theirs.close()

    asyncio.run(talk())
