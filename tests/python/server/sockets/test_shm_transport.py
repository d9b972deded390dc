"""When the server listens for clients over shared memory, what it says of it, and how it ends."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fastserve import _core
from fastserve.config.options import Options
from fastserve.errors import Error
from fastserve.server.front_end import CutOff
from fastserve.server.sockets.shm_transport import ShmTransport, address_of

NOTHING = CutOff()


class NoLoops:
    """What drains beside it: here, at once."""

    def __init__(self, cut_off: CutOff = NOTHING, takes_s: float = 0.0) -> None:
        self._cut_off = cut_off
        self._takes_s = takes_s

    async def drain(self) -> CutOff:
        await asyncio.sleep(self._takes_s)
        return self._cut_off


class PretendedListener:
    """One request is in flight, for a time."""

    def __init__(self, takes_s: float) -> None:
        self._end_s = time.monotonic() + takes_s
        self.said: list[str] = []

    @property
    def in_flight(self) -> int:
        return int(time.monotonic() < self._end_s)

    def begin_drain(self) -> None:
        self.said.append("begin_drain")

    def stop(self) -> None:
        self.said.append("stop")


@pytest.fixture
def name() -> str:
    """An abstract name that nobody else has."""
    return f"@fastserve-test-{uuid.uuid4().hex}"


def made(address: str = "auto", *, port: int = 1, waits: bool = False, **more: Any) -> ShmTransport:
    options = Options(shm_socket=address, **more)
    return ShmTransport(options, _core.ServingMap(), port, is_handed_over=waits)


async def drained(transport: ShmTransport, loops: NoLoops | None = None) -> CutOff:
    beside: Any = loops or NoLoops()
    return await transport.drain_with(beside)


def run(act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(act())


def listens(address: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        return probe.connect_ex(address.replace("@", "\0", 1)) == 0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("options", "address"),
    [
        (Options(), "@fastserve-8123"),
        (Options(shm_socket="off"), ""),
        (Options(shm_socket="@a"), "@a"),
        (Options(shm_socket="/a/b"), "/a/b"),
        (Options(shared_memory="off"), ""),
        (Options(loops=2, loop_kind="thread"), "@fastserve-8123"),
        (Options(loops=1, loop_kind="process"), "@fastserve-8123"),
    ],
)
def test_the_address_is_what_the_options_say(options, address):
    assert address_of(options, 8123) == (address, "")


def test_models_in_other_processes_are_the_reason_for_no_address():
    address, why = address_of(Options(loops=2, loop_kind="process"), 8123)
    assert address == ""
    assert "--loop-kind thread" in why


def test_it_listens_and_says_where_until_it_drains(name, caplog):
    caplog.set_level("INFO", "fastserve")

    async def act() -> None:
        transport = made(name)
        assert transport.stats() == {}
        transport.open()
        assert transport.stats()["clients"] == 0
        assert listens(name)
        assert await drained(transport, NoLoops(CutOff(1, 2))) == CutOff(1, 2)
        assert not listens(name)

    run(act)
    (record,) = caplog.records
    assert record.getMessage() == f"listening on {name} for clients over shared memory"
    assert record.fields == {"event": "listening_shm", "address": name}


def test_where_it_is_off_nothing_is_said(caplog):
    async def act() -> None:
        transport = made("off")
        transport.open()
        assert transport.stats() == {}
        assert await drained(transport) == NOTHING

    caplog.set_level("INFO", "fastserve")
    run(act)
    assert not caplog.records


def test_with_models_elsewhere_the_reason_is_said(caplog):
    async def act() -> None:
        options = Options(loops=2, loop_kind="process")
        transport = ShmTransport(options, None, 1, is_handed_over=False)
        transport.open()
        assert await drained(transport) == NOTHING

    caplog.set_level("INFO", "fastserve")
    run(act)
    assert caplog.records[0].getMessage().startswith("no clients over shared memory: the models")


def test_an_address_of_somebody_else_s_is_an_error_if_it_was_asked_for(name):
    async def act() -> None:
        first, second = made(name), made(name)
        first.open()
        with pytest.raises(Error, match=f"--shm-socket {name}: another program") as refused:
            second.open()
        assert refused.value.code == "ALREADY_EXISTS"
        assert refused.value.message.endswith("choose another address, or --shm-socket off")
        await drained(first)

    run(act)


def test_and_if_it_was_not_the_log_says_so(caplog):
    async def act() -> None:
        port = int.from_bytes(os.urandom(4), "big") + 2**16  # Nobody's.
        first, second = made(port=port), made(port=port)
        first.open()
        second.open()
        assert second.stats() == {}
        await drained(second)
        await drained(first)

    run(act)
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "another program listens on it" in record.getMessage()


@pytest.mark.parametrize(
    ("place", "says"),
    [("none/shm", "there is no such folder"), ("file", "a file that is no socket is in the way")],
)
def test_a_file_that_cannot_be_is_explained(tmp_path, place, says):
    (tmp_path / "file").touch()

    async def act() -> None:
        with pytest.raises(Error, match=says):
            made(str(tmp_path / place)).open()

    run(act)
    assert (tmp_path / "file").exists()


def test_a_file_is_private_and_gone_at_the_end(tmp_path):
    path = tmp_path / "shm"

    async def act() -> None:
        transport = made(str(path))
        before = os.umask(0)
        transport.open()
        os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await drained(transport)

    run(act)
    assert not path.exists()


def test_a_successor_has_the_address_once_it_is_free(name, tmp_path, caplog):
    caplog.set_level("INFO", "fastserve")

    async def act(address: str) -> None:
        first, second = made(address), made(address, waits=True)
        first.open()
        second.open()
        assert second.stats() == {}
        await asyncio.sleep(0.5)
        assert second.stats() == {}
        # It is left alone meanwhile: whoever asks a file whether somebody listens is a client.
        assert first.stats()["clients_refused"] == int(not address.startswith("@"))
        await drained(first)
        await until(lambda: second.stats() != {})
        assert listens(address)
        await drained(second)
        assert not listens(address)

    for address in (name, str(tmp_path / "shm")):
        caplog.clear()
        asyncio.run(act(address))
        said = [record.fields["event"] for record in caplog.records]
        assert said == ["listening_shm", "waiting_shm", "listening_shm"]


def test_one_that_ends_waits_no_longer(name):
    async def act() -> None:
        first, second = made(name), made(name, waits=True)
        first.open()
        second.open()
        await drained(second)
        await drained(first)
        await asyncio.sleep(0.3)
        assert not listens(name)

    run(act)


def pretend(transport: ShmTransport, takes_s: float) -> PretendedListener:
    listener = PretendedListener(takes_s)
    transport._listener = listener  # type: ignore[assignment]
    return listener


def test_what_is_in_flight_finishes(name):
    async def act() -> None:
        transport = made(name)
        listener = pretend(transport, takes_s=0.1)
        began_s = time.monotonic()
        assert await drained(transport) == NOTHING
        assert time.monotonic() - began_s >= 0.09
        assert listener.said == ["begin_drain", "stop"]

    run(act)


# Both have the same time, at the same time.
def test_what_does_not_finish_is_cut_off_and_counted(name):
    async def act() -> None:
        transport = made(name, drain_timeout_ns=200_000_000)
        listener = pretend(transport, takes_s=60)
        began_s = time.monotonic()
        assert await drained(transport, NoLoops(CutOff(2, 3), takes_s=0.2)) == CutOff(3, 3)
        assert 0.2 <= time.monotonic() - began_s < 5
        assert listener.said == ["begin_drain", "stop"]

    run(act)


# Its file may be another server's by the time that this one has ended.
def test_a_file_is_removed_while_it_still_listens(tmp_path):
    path = tmp_path / "shm"

    class Looking(PretendedListener):
        def begin_drain(self) -> None:
            self.said.append(f"begin_drain {path.exists()}")

    async def act() -> None:
        transport = made(str(path))
        path.touch()
        listener = Looking(0)
        transport._listener = listener  # type: ignore[assignment]
        await drained(transport)
        assert listener.said == ["begin_drain False", "stop"]

    run(act)
