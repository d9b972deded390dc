"""What takes a while at the end is done on a thread, or without one."""

import asyncio
import threading

import pytest

from fastserve.server import farewell


def no_threads(*_: object, **__: object) -> None:
    raise RuntimeError("can't start new thread")


def test_what_takes_a_while_is_done_on_a_thread() -> None:
    done_by: list[threading.Thread] = []
    asyncio.run(farewell.away(lambda: done_by.append(threading.current_thread())))
    assert done_by != [threading.main_thread()]
    assert len(done_by) == 1


def test_without_a_thread_it_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "to_thread", no_threads)
    done: list[int] = []
    asyncio.run(farewell.away(done.append, 7))
    assert done == [7]


def test_its_own_errors_are_its_own() -> None:
    def fail() -> None:
        raise RuntimeError("of another kind")

    with pytest.raises(RuntimeError, match="of another kind"):
        asyncio.run(farewell.away(fail))
