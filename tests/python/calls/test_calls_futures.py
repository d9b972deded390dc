"""submit and its Future."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import traceback

import numpy as np
import pytest

from fastserve import _core
from fastserve.errors import Error
from tests.python.calls.conftest import WITHIN_RUN_S

X = np.arange(16, dtype=np.float32)


def test_a_future_has_the_answer(fp32):
    future = fp32.caller.submit(X, ["y"])
    assert np.array_equal(future.result()["y"], X)
    assert future.result() is future.result(timeout=3)
    assert (future.done(), future.cancelled(), future.cancel()) == (True, False, False)
    assert future.exception() is None


def test_a_request_that_does_not_fit_raises_at_once(fp32):
    with pytest.raises(_core.CoreError, match="unknown input"):
        fp32.caller.submit({"z": X})


def test_a_future_has_the_error(serve):
    caller = serve([("x", "FP32", [16])], repeat=2, error=Error).caller
    future = caller.submit(X)
    error = future.exception()
    assert isinstance(error, Error)
    assert error.code == "INVALID_ARGUMENT"
    for _ in range(2):
        with pytest.raises(Error) as caught:
            future.result()
        assert caught.value is error
    assert len(traceback.extract_tb(error.__traceback__)) < 10


def test_somebody_runs_it_when_nobody_asks(fp32):
    done = threading.Event()
    future = fp32.caller.submit(X)
    future.add_done_callback(lambda _: done.set())
    assert done.wait(10)
    assert future.done()


def test_many_submissions_are_answered_in_any_order(serve):
    caller = serve([("x", "INT64", [1])], queue_depth=4096).caller
    futures = [caller.submit([i]) for i in range(2000)]
    answers = [int(future.result()["y"][0]) for future in reversed(futures)]
    assert answers == list(range(1999, -1, -1))


def test_a_full_queue_is_an_error_of_the_future(serve):
    served = serve([("x", "FP32", [1])], delay_us=100_000, queue_depth=1, caller_runs="never")
    futures = [served.caller.submit([1]) for _ in range(8)]
    codes = [error.args[0] for future in futures if (error := future.exception()) is not None]
    assert codes
    assert set(codes) == {"RESOURCE_EXHAUSTED"}


# Waiting.


def test_a_result_that_is_not_there_in_time_is_a_time_out(slow):
    future = slow.caller.submit(X)
    with pytest.raises(TimeoutError):
        future.result(timeout=0.001)
    with pytest.raises(TimeoutError):
        future.exception(0)
    assert not future.done()
    assert np.array_equal(future.result(timeout=30)["y"], X)


@pytest.mark.parametrize("arguments", [((1, 2), {}), ((), {"timeouts": 1}), ((1,), {"timeout": 1})])
def test_result_takes_a_time_out_alone(fp32, arguments):
    future = fp32.caller.submit(X)
    with pytest.raises(TypeError, match="takes one argument, timeout"):
        future.result(*arguments[0], **arguments[1])


def test_several_threads_may_wait_for_one_future(slow):
    future = slow.caller.submit(X)
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(future.result())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 5
    assert all(result is results[0] for result in results)


def test_a_deadline_that_passes_in_the_queue_is_an_error(slow):
    first = slow.caller.submit(X)
    late = slow.caller.submit(X, timeout=0.02)
    with pytest.raises(_core.CoreError) as caught:
        late.result()
    assert caught.value.args[0] == "DEADLINE_EXCEEDED"
    assert not first.done()
    assert slow.stats()["failure"]["deadline"] == 1
    first.result()


def test_a_deadline_that_passes_in_a_run_is_an_error_too(slow):
    future = slow.caller.submit(X, timeout=WITHIN_RUN_S)
    with pytest.raises(_core.CoreError, match="'m' runs, but its answer is not there after 100 ms"):
        future.result()
    assert future.done()
    assert not future.cancelled()


def test_infer_keeps_its_deadline_while_others_run(slow):
    first = slow.caller.submit(X)
    with pytest.raises(_core.CoreError) as caught:
        slow.caller.infer(X, timeout=0.02)
    assert caught.value.args[0] == "DEADLINE_EXCEEDED"
    assert not first.done()
    first.result()


# Cancelling.


def test_what_waits_is_cancelled_at_once(slow):
    first, second = slow.caller.submit(X), slow.caller.submit(X)
    assert second.cancel()
    assert second.cancelled()
    assert second.done()
    assert not first.done()
    for ask in (second.result, second.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            ask()
    assert slow.stats()["failure"]["cancelled"] == 1
    first.result()


def test_what_runs_is_not_cancelled(slow, until_it_runs):
    future = slow.caller.submit(X)
    until_it_runs(slow)
    assert not future.cancel()
    assert not future.cancelled()
    assert np.array_equal(future.result()["y"], X)


# Callbacks.


def test_callbacks_are_called_in_order_on_one_thread(slow):
    called: list[tuple[int, str, object]] = []
    done = threading.Event()
    future = slow.caller.submit(X)

    def note(number: int):
        def callback(given: object) -> None:
            called.append((number, threading.current_thread().name, given))
            if number == 2:
                done.set()

        return callback

    for number in range(3):
        future.add_done_callback(note(number))
    assert called == []
    assert done.wait(10)
    assert called == [(number, "fastserve-callbacks", future) for number in range(3)]


def test_a_callback_of_what_is_done_is_called_at_once(fp32):
    future = fp32.caller.submit(X)
    future.result()
    called: list[str] = []
    future.add_done_callback(lambda _: called.append(threading.current_thread().name))
    assert called == [threading.current_thread().name]
    with pytest.raises(TypeError, match="a callback is callable, not int"):
        future.add_done_callback(3)


def test_a_callback_that_raises_is_reported_and_the_next_is_called(slow, monkeypatch):
    reported: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", lambda hint: reported.append(hint.exc_value))
    done = threading.Event()
    future = slow.caller.submit(X)
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(lambda _: done.set())
    assert done.wait(10)
    assert [type(error) for error in reported] == [ZeroDivisionError]


def test_a_future_with_callbacks_need_not_be_kept(slow):
    done = threading.Event()
    slow.caller.submit(X).add_done_callback(lambda _: done.set())
    assert done.wait(10)


# The main thread sleeps in a lock, so no pending call of the interpreter would be made.
def test_callbacks_are_called_while_the_main_thread_sleeps(slow):
    answered = threading.Lock()
    answered.acquire()
    slow.caller.submit(X).add_done_callback(lambda _: answered.release())
    assert answered.acquire(timeout=10)


# In a loop.


def test_a_future_can_be_awaited(slow):
    async def main() -> None:
        future = slow.caller.submit(X)
        assert np.array_equal((await future)["y"], X)
        assert await future is future.result()
        bad = slow.caller.submit(X, timeout=0)
        with pytest.raises(_core.CoreError):
            await bad

    asyncio.run(main())


def test_cancelling_who_awaits_a_future_cancels_it(slow):
    async def main() -> None:
        first, second = slow.caller.submit(X), slow.caller.submit(X)

        async def wait() -> None:
            await second

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert second.cancelled()
        await first

    asyncio.run(main())
