"""Who keeps which memory alive, and for how long."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import pytest

from fastserve import _core
from tests.python.calls.conftest import WITHIN_RUN_S


class Tracked(np.ndarray):
    """An array that a weak reference can watch."""


def tracked(elements: int = 16) -> Tracked:
    return np.arange(elements, dtype=np.float32).view(Tracked)


# Holding memory.


def test_an_answer_that_aliases_an_input_keeps_it_and_no_longer(fp32):
    x = np.zeros(16, np.float32)
    before = sys.getrefcount(x)
    y = fp32.caller.infer(x)["y"]
    assert sys.getrefcount(x) == before + 1
    view = y[3:]
    del y
    assert sys.getrefcount(x) == before + 1
    del view
    assert sys.getrefcount(x) == before


def test_an_answer_outlives_its_input_its_caller_and_its_server(serve):
    served = serve([("x", "FP32", [-1])])
    x = np.arange(1000, dtype=np.float32)
    y = served.caller.infer(x)["y"]
    served.retire()
    del x, served
    gc.collect()
    assert np.array_equal(y, np.arange(1000))


def test_rows_of_a_joined_batch_outlive_the_server(serve, until_it_runs):
    served = serve(
        [("x", "INT64", [-1, 2])], max_batch_size=8, delay_us=50_000, caller_runs="never"
    )
    futures = [served.caller.submit(np.full((1, 2), 0))]
    until_it_runs(served)
    futures += [served.caller.submit(np.full((1, 2), i)) for i in range(1, 6)]
    answers = [future.result()["y"] for future in futures]
    assert max(served.stats()["batch_rows"]) > 1
    served.retire()
    del futures, served
    gc.collect()
    assert [answer.tolist() for answer in answers] == [[[i, i]] for i in range(6)]


def test_nothing_is_left_of_many_calls(fp32):
    x = np.zeros(16, np.float32)
    before = sys.getrefcount(x), sys.getrefcount(fp32.caller), sys.getrefcount(None)
    for _ in range(3000):
        fp32.caller.infer(x)
        fp32.caller.submit(x).result()
        with pytest.raises(_core.CoreError):
            fp32.caller.infer({"x": x, "z": x})
    gc.collect()
    after = sys.getrefcount(x), sys.getrefcount(fp32.caller), sys.getrefcount(None)
    assert [abs(a - b) < 100 for a, b in zip(after, before, strict=True)] == [True] * 3


# A run that is under way reads its inputs, whoever has turned their back; its end is on a thread of
# the core, which must not need the interpreter.
def test_an_input_lives_until_a_run_that_nobody_awaits_is_over(slow, until):
    x = tracked()
    gone = weakref.ref(x)
    with pytest.raises(_core.CoreError, match="runs, but its answer is not there"):
        slow.caller.infer(x, timeout=WITHIN_RUN_S)
    del x
    assert gone() is not None
    until(lambda: slow.stats()["executions"] == 1)
    until(lambda: gone() is None)  # A pending call alone brings it about: no call of ours follows.


def test_a_future_that_is_dropped_lets_its_call_run_and_its_input_go(slow, until):
    x = tracked()
    gone = weakref.ref(x)
    slow.caller.submit(x)
    del x
    assert gone() is not None
    until(lambda: slow.stats()["executions"] == 1)
    until(lambda: gone() is None)  # A pending call alone brings it about: no call of ours follows.


def test_the_version_that_answered_goes_with_its_last_call(serve):
    served = serve([("x", "FP32", [16])])
    answer = served.caller.infer(tracked())
    servable = weakref.ref(served.servable)
    served.retire()
    served.servable = None
    gc.collect()
    assert servable() is None
    assert answer["y"][3] == 3


# Writing.


def test_what_aliases_an_input_cannot_be_written_to(fp32):
    y = fp32.caller.infer(np.zeros(16, np.float32))["y"]
    assert not y.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        y[0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        y.flags.writeable = True


def test_rows_of_a_joined_batch_are_ones_own_to_write(serve, until_it_runs):
    served = serve(
        [("x", "INT64", [-1, 2])], max_batch_size=8, delay_us=50_000, caller_runs="never"
    )
    alone = served.caller.submit(np.full((1, 2), 0))
    until_it_runs(served)
    futures = [served.caller.submit(np.full((1, 2), i)) for i in (1, 2, 3)]
    joined = [future.result()["y"] for future in futures]
    assert not alone.result()["y"].flags.writeable
    for answer in joined:
        answer += 100
    assert [answer.tolist() for answer in joined] == [[[i + 100] * 2] for i in (1, 2, 3)]


def test_the_base_of_an_answer_is_the_cores_buffer(fp32):
    y = fp32.caller.infer(np.zeros(16, np.float32))["y"]
    assert type(y.base) is _core.Buffer
    assert len(y.base) == 64
    assert memoryview(y.base).readonly


# Cycles.


def test_a_caller_that_refers_to_itself_is_collected(fp32):
    class Model(_core.Caller):
        itself: object

    model = Model(fp32.serving_map, "m")
    model.itself = model
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_future_that_is_in_its_own_callback_is_collected(fp32):
    class Marker:
        pass

    marker = Marker()
    gone = weakref.ref(marker)
    future = fp32.caller.submit(np.zeros(16, np.float32))
    future.result()["marker"] = [future, marker]
    del future, marker
    gc.collect()
    assert gone() is None
