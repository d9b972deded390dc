"""What infer takes and gives."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict, UserDict

import numpy as np
import pytest

from fastserve import _core
from fastserve.errors import Error

X = np.arange(16, dtype=np.float32)


def code_and_message(caught: pytest.ExceptionInfo[BaseException]) -> tuple[str, str]:
    code, message = caught.value.args
    return code, message


# Inputs and outputs by name.


def test_the_answer_is_a_dict_of_arrays(fp32):
    answer = fp32.caller.infer({"x": X})
    assert list(answer) == ["y"]
    assert answer["y"].dtype == np.float32
    assert np.array_equal(answer["y"], X)


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict])
def test_inputs_are_any_mapping(fp32, kind):
    assert np.array_equal(fp32.caller.infer(kind(x=X))["y"], X)


def test_a_model_with_one_input_takes_a_single_array(fp32):
    assert np.array_equal(fp32.caller.infer(X)["y"], X)
    assert np.array_equal(fp32.caller.infer(inputs=X, outputs=["y"])["y"], X)


def test_a_model_with_two_inputs_wants_their_names(serve):
    caller = serve([("a", "FP32", [2]), ("b", "INT64", [1])]).caller
    with pytest.raises(_core.CoreError) as caught:
        caller.infer(np.zeros(2, np.float32))
    assert code_and_message(caught) == (
        "INVALID_ARGUMENT",
        "model 'm' has 2 inputs: give them by name, as {'a': ..., 'b': ...}",
    )


def test_inputs_may_come_in_any_order(serve):
    caller = serve([("a", "FP32", [2]), ("b", "INT64", [1])]).caller
    answer = caller.infer({"b": [7], "a": [1.5, 2.5]})
    assert list(answer) == ["y0", "y1"]
    assert answer["y0"].tolist() == [1.5, 2.5]
    assert answer["y1"].tolist() == [7]


def test_names_that_are_made_at_run_time_are_found(serve):
    caller = serve([("a", "FP32", [1]), ("b", "FP32", [1])]).caller
    answer = caller.infer({"".join("b"): [2], "".join(["", "a"]): [1]})
    assert [float(array[0]) for array in answer.values()] == [1, 2]


def test_only_the_outputs_that_are_asked_for_are_answered(serve):
    caller = serve([("a", "FP32", [1]), ("b", "FP32", [1])]).caller
    inputs = {"a": [1.0], "b": [2.0]}
    assert list(caller.infer(inputs, ["y1"])) == ["y1"]
    assert list(caller.infer(inputs, ("y1", "y0"))) == ["y1", "y0"]
    with pytest.raises(_core.CoreError, match="unknown output 'z', expected 'y0', 'y1'"):
        caller.infer(inputs, ["z"])


def test_more_inputs_than_usual_are_read(serve):
    names = [f"x{i}" for i in range(40)]
    caller = serve([(name, "INT32", [1]) for name in names]).caller
    answer = caller.infer({name: [i] for i, name in enumerate(reversed(names))})
    assert [int(answer[f"y{i}"][0]) for i in range(40)] == list(range(39, -1, -1))


# What is wrong with a request.


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"z": X}, "unknown input 'z', expected 'x'"),
        ({"x": X, "z": X}, "unknown input 'z', expected 'x'"),
        ({}, "input 'x' is missing, expected 'x'"),
        ({"x": X[:3]}, "input 'x' has shape [3], expected [16]"),
        (
            {"x": X.astype(np.float64)},
            "input 'x' has dtype float64, expected float32 (FP32): x.astype(np.float32)",
        ),
        (
            {"x": np.array(["a"])},
            "input 'x' has dtype <U1, expected float32 (FP32): x.astype(np.float32)",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_named(fp32, inputs, message):
    with pytest.raises(_core.CoreError) as caught:
        fp32.caller.infer(inputs)
    assert code_and_message(caught) == ("INVALID_ARGUMENT", message)
    assert fp32.stats()["failure"]["invalid"] == 1


def test_errors_are_of_the_type_that_was_given(serve):
    caller = serve([("x", "FP32", [16])], error=Error).caller
    with pytest.raises(Error, match="is missing") as caught:
        caller.infer({})
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("arguments", "keywords", "expected"),
    [
        ((), {}, "misses its argument 'inputs'"),
        ((X, None, 1.0), {}, "takes inputs and outputs, but 3 arguments were given"),
        ((X,), {"timeouts": 1}, "unexpected keyword argument 'timeouts'"),
        ((X,), {"inputs": X}, "multiple values for argument 'inputs'"),
        ((X, "y"), {}, r"outputs is the str 'y', expected a list of names: \['y'\]"),
        ((X, 3), {}, "outputs is no sequence"),
        ((X, [3]), {}, "names of outputs are str, not int"),
        (({3: X},), {}, "names of inputs are str, not int"),
        ((X,), {"timeout": "soon"}, "must be real number"),
    ],
)
def test_arguments_that_are_none_are_a_type_error(fp32, arguments, keywords, expected):
    with pytest.raises(TypeError, match=expected):
        fp32.caller.infer(*arguments, **keywords)


@pytest.mark.parametrize("timeout", [-1, float("nan"), -0.001])
def test_a_time_out_is_at_least_zero(fp32, timeout):
    with pytest.raises(ValueError, match="expected seconds, at least 0"):
        fp32.caller.infer(X, timeout=timeout)


def test_no_outputs_at_all_are_a_value_error(fp32):
    with pytest.raises(ValueError, match="outputs is empty"):
        fp32.caller.infer(X, [])


def test_a_model_that_is_not_served_is_not_found(fp32):
    fp32.retire()
    with pytest.raises(_core.CoreError) as caught:
        fp32.caller.infer(X)
    assert code_and_message(caught) == ("NOT_FOUND", "no model 'm' is served")
    with pytest.raises(_core.CoreError, match="version 3 of model 'm' is not served"):
        _core.Caller(fp32.serving_map, "m", "3").infer(X)


def test_a_model_that_gives_several_responses_is_an_error(serve):
    with pytest.raises(_core.CoreError, match="gave 2 responses, but a call takes exactly one"):
        serve([("x", "FP32", [16])], repeat=2).caller.infer(X)


def test_a_version_that_comes_back_is_found_again(fp32):
    fp32.caller.infer(X)
    fp32.retire()
    with pytest.raises(_core.CoreError, match="is served"):
        fp32.caller.infer(X)
    fp32.serving_map.publish(fp32.servable)
    assert fp32.caller.infer(X)["y"][1] == 1


def test_a_caller_is_made_of_a_serving_map(fp32):
    with pytest.raises(TypeError, match="Caller takes a ServingMap"):
        _core.Caller(object(), "m")  # type: ignore[call-overload]
    with pytest.raises(RuntimeError, match="initialised once"):
        fp32.caller.__init__(fp32.serving_map, "m")
    with pytest.raises(RuntimeError, match="was not initialised"):
        _core.Caller.__new__(_core.Caller).infer(X)


def test_a_subclass_adds_what_it_likes(fp32):
    class Model(_core.Caller):
        def __init__(self) -> None:
            super().__init__(fp32.serving_map, "m")
            self.extra = 3

        def first(self) -> float:
            return float(self.infer(X)["y"][1])

    model = Model()
    assert (model.extra, model.first()) == (3, 1.0)


def test_callers_of_one_caller_end_together_and_say_why(serve):
    served = serve([("x", "FP32", [16])], error=Error)
    one = _core.Caller(served.caller)
    other = _core.Caller(one)
    assert other.infer(X)["y"][1] == 1
    waiting = other.submit(X)
    _core.end_calls(other, "NOT_FOUND", "it went away")
    for caller in (served.caller, one, other):
        for call in (caller.infer, caller.submit, caller.ainfer):
            with pytest.raises(Error) as caught:
                call(X)
            assert (caught.value.code, caught.value.message) == ("NOT_FOUND", "it went away")
    assert waiting.result()["y"][1] == 1
    assert _core.Caller(served.serving_map, "m").infer(X)["y"][1] == 1


def test_a_caller_of_a_caller_keeps_it(fp32):
    other = _core.Caller(fp32.caller)
    fp32.caller = None
    gc.collect()
    assert other.infer(X)["y"][1] == 1
    with pytest.raises(RuntimeError, match="initialised once"):
        other.__init__(other)  # type: ignore[misc]


def test_calls_are_ended_with_a_code(fp32):
    with pytest.raises(ValueError, match="'OK' is no code"):
        _core.end_calls(fp32.caller, "OK", "")
    with pytest.raises(TypeError):
        _core.end_calls(fp32.serving_map, "NOT_FOUND", "")
    with pytest.raises(RuntimeError, match="was not initialised"):
        _core.end_calls(_core.Caller.__new__(_core.Caller), "NOT_FOUND", "")


# The same code path as the server's.


def test_calls_are_counted_like_any_other(fp32):
    fp32.caller.infer(X)
    stats = fp32.stats()
    assert (stats["success"], stats["rows"], stats["executions"]) == (1, 1, 1)
    assert stats["request_ns"]["count"] == 1


def test_the_newest_version_answers_and_old_names_are_forgotten(fp32):
    fp32.caller.infer(X)
    inputs = [_core.TensorSpec("a", "INT64", [1])]
    outputs = [_core.TensorSpec("b", "INT64", [1])]
    newer = _core.Servable(
        _core.open_identity(inputs, outputs), name="m", version=2, inputs=inputs, outputs=outputs
    )
    fp32.serving_map.publish(newer)
    assert fp32.caller.infer({"a": [5]})["b"].tolist() == [5]
    assert list(_core.Caller(fp32.serving_map, "m", "1").infer(X)) == ["y"]


def test_many_threads_get_their_own_answers(serve):
    served = serve([("x", "INT64", [-1, 4])], max_batch_size=8)
    wrong: list[object] = []

    def call(thread: int) -> None:
        for i in range(2000):
            x = np.full((1, 4), thread * 10_000 + i)
            y = served.caller.infer(x)["y"]
            if not np.array_equal(y, x):
                wrong.append((thread, i, y))

    threads = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    stats = served.stats()
    assert stats["success"] == 16_000
    assert stats["request_ns"]["count"] == 16_000


# All wait while the first runs, so all of them are joined.
def test_calls_that_wait_share_a_batch(serve, until_it_runs):
    served = serve(
        [("x", "INT64", [-1, 2])], max_batch_size=8, delay_us=100_000, caller_runs="never"
    )
    futures = [served.caller.submit([[0, 0]])]
    until_it_runs(served)
    futures += [served.caller.submit([[i, i]]) for i in range(1, 9)]
    answers = [future.result()["y"] for future in futures]
    assert [answer.tolist() for answer in answers] == [[[i, i]] for i in range(9)]
    assert served.stats()["batch_rows"] == {1: 1, 8: 1}
