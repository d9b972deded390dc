"""ainfer on the loops that people use."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import weakref
from collections import Counter

import numpy as np
import pytest
import uvloop

from fastserve import _core
from tests.python.calls.conftest import WITHIN_RUN_S

X = np.arange(16, dtype=np.float32)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    return asyncio.run if request.param == "asyncio" else uvloop.run


def open_files() -> Counter[str]:
    """How many there are of each kind: "anon_inode:[eventfd]", "socket:[#]"..."""
    gc.collect()  # uvloop's closed loops have some until they are collected.
    kinds: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # The listing's own.
            kinds[re.sub(r"\d+", "#", os.readlink(f"/proc/self/fd/{name}"))] += 1
    return kinds


def test_an_answer_is_awaited(fp32, run):
    async def main() -> None:
        assert np.array_equal((await fp32.caller.ainfer(X, outputs=["y"]))["y"], X)

    run(main())


def test_without_a_loop_it_is_a_runtime_error(fp32):
    with pytest.raises(RuntimeError, match="no running event loop"):
        fp32.caller.ainfer(X)


def test_what_one_iteration_submits_is_joined(serve, run):
    served = serve([("x", "INT64", [-1, 1])], max_batch_size=64)

    async def main() -> list[int]:
        answers = await asyncio.gather(*(served.caller.ainfer([[i]]) for i in range(50)))
        return [int(answer["y"].item()) for answer in answers]

    assert run(main()) == list(range(50))
    assert served.stats()["batch_rows"] == {50: 1}


def test_cheap_models_run_on_the_loops_thread_and_others_do_not(serve, run):
    served = serve([("x", "FP32", [16])])
    served.servable.warm_up()

    async def main() -> None:
        for _ in range(20):
            await served.caller.ainfer(X)

    run(main())
    assert served.stats()["caller_runs"] > 0
    slow = serve([("x", "FP32", [16])], delay_us=1000)
    slow.servable.warm_up()

    async def wait() -> None:
        await slow.caller.ainfer(X)

    run(wait())
    assert slow.stats()["caller_runs"] == 0


def test_the_loop_goes_on_while_a_model_runs(slow, run):
    async def main() -> int:
        turns = 0
        future = slow.caller.ainfer(X)
        while not future.done():
            turns += 1
            await asyncio.sleep(0)
        assert np.array_equal(future.result()["y"], X)
        return turns

    assert run(main()) > 10


def test_two_models_answer_one_loop(serve, run):
    a, b = serve([("x", "FP32", [16])], delay_us=2000), serve([("x", "INT32", [1])])

    async def main() -> None:
        first, second = await asyncio.gather(a.caller.ainfer(X), b.caller.ainfer([3]))
        assert np.array_equal(first["y"], X)
        assert second["y"].tolist() == [3]

    run(main())


def test_errors_are_raised_where_they_are_awaited(serve, run):
    caller = serve([("x", "FP32", [16])], repeat=2).caller

    async def main() -> None:
        with pytest.raises(_core.CoreError, match="unknown input"):
            await caller.ainfer({"z": X})
        with pytest.raises(_core.CoreError, match="gave 2 responses"):
            await caller.ainfer(X)

    run(main())


def test_a_full_queue_is_an_error(serve, run):
    served = serve([("x", "FP32", [1])], delay_us=50_000, queue_depth=2, caller_runs="never")

    async def main() -> None:
        answers = await asyncio.gather(
            *(served.caller.ainfer([1]) for _ in range(6)), return_exceptions=True
        )
        codes = {answer.args[0] for answer in answers if isinstance(answer, _core.CoreError)}
        assert codes == {"RESOURCE_EXHAUSTED"}
        assert any(isinstance(answer, dict) for answer in answers)

    run(main())


# Deadlines and cancelling.


def test_a_deadline_passes_while_another_runs(slow, run):
    async def main() -> None:
        first = slow.caller.ainfer(X)
        with pytest.raises(_core.CoreError) as caught:
            await slow.caller.ainfer(X, timeout=0.02)
        assert caught.value.args[0] == "DEADLINE_EXCEEDED"
        assert not first.done()
        await first

    run(main())
    assert slow.stats()["failure"]["deadline"] == 1


def test_a_deadline_passes_in_its_own_run(slow, run):
    async def main() -> None:
        with pytest.raises(_core.CoreError, match="'m' runs, but its answer is not there"):
            await slow.caller.ainfer(X, timeout=WITHIN_RUN_S)

    run(main())


def test_each_deadline_passes_while_others_wait(slow, run):
    async def main() -> None:
        first, patient = slow.caller.ainfer(X), slow.caller.ainfer(X, timeout=60)
        errors = await asyncio.gather(
            *(slow.caller.ainfer(X, timeout=timeout_s) for timeout_s in (0.06, 0.02, 0.04)),
            return_exceptions=True,
        )
        assert [error.args[0] for error in errors] == ["DEADLINE_EXCEEDED"] * 3
        await first
        assert np.array_equal((await patient)["y"], X)

    run(main())
    assert slow.stats()["failure"]["deadline"] == 3


def test_cancelling_the_task_cancels_the_request(slow, run):
    async def main() -> None:
        first = slow.caller.ainfer(X)

        async def wait() -> None:
            await slow.caller.ainfer(X)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert slow.stats()["failure"]["cancelled"] == 1
        await first

    run(main())
    assert slow.stats()["executions"] == 1


def test_wait_for_gives_up_a_run_that_is_under_way(slow, run):
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow.caller.ainfer(X), 0.02)

    run(main())


# What is left in the process.


def test_many_loops_leave_no_files_open(serve, run):
    quick, slow = serve([("x", "FP32", [16])]), serve([("x", "FP32", [16])], delay_us=1000)

    async def main() -> None:
        await asyncio.gather(quick.caller.ainfer(X), slow.caller.ainfer(X))

    run(main())
    before = open_files()
    for _ in range(200):
        run(main())
    assert open_files() == before


def test_loops_that_end_before_their_calls_leave_nothing(slow, run):
    async def main() -> None:
        slow.caller.ainfer(X)
        slow.caller.ainfer(X)
        await asyncio.sleep(0)

    run(main())
    before = open_files()
    for _ in range(20):
        run(main())
    # The last loop's is kept for the next.
    left = open_files() - before
    assert left.total() <= 1, left

    async def answered() -> None:
        assert np.array_equal((await slow.caller.ainfer(X))["y"], X)

    run(answered())


def test_a_loop_that_has_no_calls_is_not_kept(serve):
    served = serve([("x", "FP32", [16])], delay_us=1000)

    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        await served.caller.ainfer(X)
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(main())
    gc.collect()
    assert loop() is None


def test_an_input_goes_when_its_call_is_over(serve, run):
    served = serve([("x", "FP32", [16])])

    class Tracked(np.ndarray):
        pass

    async def main() -> None:
        x = X.copy().view(Tracked)
        gone = weakref.ref(x)
        answer = await served.caller.ainfer(x)
        del x
        assert gone() is not None
        del answer
        await asyncio.sleep(0)  # Until here the loop holds the future that woke this task.
        assert gone() is None

    run(main())
