"""Calls of models that an engine computes, with its memory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastserve import _core

pytest.importorskip("onnxruntime")

MODELS = Path(__file__).parents[2] / "models"


def serve(name: str, **options: Any) -> tuple[Any, Any]:
    """(caller, servable)"""
    from fastserve.control.loading.engine import onnxruntime_library

    model = _core.open_onnxruntime(str(MODELS / f"{name}.onnx"), library=onnxruntime_library())
    servable = _core.Servable(
        model, name=name, version=1, inputs=model.inputs, outputs=model.outputs, **options
    )
    serving_map = _core.ServingMap()
    serving_map.publish(servable)
    return _core.Caller(serving_map, name), servable


def test_outputs_are_computed_and_may_be_written_to():
    caller, _ = serve("add_mul")
    a, b = np.arange(8, dtype=np.float32).reshape(2, 4), np.full((2, 4), 3, np.float32)
    answer = caller.infer({"a": a, "b": b})
    assert np.array_equal(answer["sum"], a + b)
    assert np.array_equal(answer["product"], a * b)
    answer["sum"] += 1
    assert np.array_equal(answer["product"], a * b)
    assert np.array_equal(caller.infer({"a": a, "b": b})["sum"], a + b)


# The model's outputs are its input, a constant of its own, and something computed.
def test_what_is_written_to_an_answer_stays_there():
    caller, _ = serve("passthrough")
    x = np.ones((2, 2), np.float32)
    first = caller.infer({"x": x})
    assert not (first["x"].flags.writeable and np.shares_memory(first["x"], x))
    constant = first["constant"].copy()
    for array in first.values():
        if array.flags.writeable:
            array += 100
    again = caller.infer({"x": x})
    assert np.array_equal(again["constant"], constant)
    assert np.array_equal(again["x"], np.ones((2, 2)))


def test_an_answer_outlives_the_engine():
    caller, servable = serve("add_mul")
    ones = np.ones((1, 4), np.float32)
    answer = caller.infer({"a": ones, "b": ones})
    del caller, servable
    assert answer["sum"].tolist() == [[2, 2, 2, 2]]


def test_a_run_that_fails_is_the_callers_error():
    caller, servable = serve("gather")
    with pytest.raises(_core.CoreError, match="Gather"):
        caller.infer({"x": np.zeros((3, 2), np.float32), "index": [7]})
    assert servable.stats()["failure"]["backend"] == 1


def test_threads_whose_calls_are_joined_get_their_own_rows():
    caller, servable = serve("add_mul", max_batch_size=16, caller_runs="never")
    wrong: list[int] = []

    def call(thread: int) -> None:
        for i in range(200):
            a = np.full((1 + i % 3, 4), thread * 1000 + i, np.float32)
            answer = caller.infer({"a": a, "b": a})
            answer["sum"] -= a  # Rows of others must not change.
            if not (np.array_equal(answer["sum"], a) and np.array_equal(answer["product"], a * a)):
                wrong.append(i)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert servable.stats()["success"] == 1600
