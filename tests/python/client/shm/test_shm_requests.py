"""Requests whose memory is written to, and that are sent again."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest

from fastserve.client.shm import ShmClient
from tests.python.client.conftest import LIMIT_S, MANY
from tests.python.client.shm.conftest import LATE, failure
from tests.served import Repository, Server

ROW = np.arange(4, dtype=np.float32)


def address_of(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_inputs_are_written_where_the_server_reads_them(client):
    with client.request("add_mul") as request:
        request.inputs["a"][:] = ROW
        request.inputs["b"][:] = 2
        where = address_of(request.inputs["a"])
        for factor in range(1, 4):
            request.inputs["a"][:] = factor * ROW
            result = request.result()
            np.testing.assert_array_equal(result["product"], [2 * factor * ROW])
        assert address_of(request.inputs["a"]) == where
        assert where % 64 == 0
        assert list(request.inputs) == ["a", "b"]
        assert "a" in request.inputs
        assert "z" not in request.inputs
        assert len(request.inputs) == 2
        assert repr(request.inputs) == "<inputs a, b>"
        assert repr(request) == "<fastserve.client.shm.ShmRequest to add_mul, not sent>"


def test_an_array_may_be_assigned_whatever_its_shape(client):
    with client.request("FP32") as request:
        for length in (3, 3, 500, 1):
            request.inputs["x"] = np.full(length, length, np.float32)
            assert request.result()["y"].tolist() == [length] * length
        request.inputs["x"] = [1, 2, 3]
        where = address_of(request.inputs["x"])
        request.inputs["x"] = [4, 5, 6]  # Of the same shape: the same bytes.
        assert address_of(request.inputs["x"]) == where
        request.inputs["x"] += 1
        assert request.result()["y"].tolist() == [5, 6, 7]
        error = failure(lambda: request.inputs.__setitem__("x", np.zeros(3, np.int32)))
        assert error.code == "INVALID_ARGUMENT"
        assert "int32, expected float32" in error.message
        assert request.result()["y"].tolist() == [5, 6, 7]


def test_strings_are_assigned(client):
    with client.request("strings") as request:
        error = failure(lambda: request.inputs["x"])
        assert "is BYTES" in error.message
        assert "assign a list" in error.message
        request.inputs["x"] = ["ab", b"c"]
        assert request.result()["y"].tolist() == [b"ab", b"c"]
        assert request.inputs["x"].tolist() == [b"ab", b"c"]
        request.inputs["x"] = ["abcd"]
        assert request.result()["y"].tolist() == [b"abcd"]


def test_open_dimensions_are_said(client):
    assert client.request("rows").inputs["x"].shape == (1, 3, 2)
    assert client.request("rows", batch=5).inputs["x"].shape == (5, 3, 2)
    assert client.request("rows", shapes={"x": [7, 3, 2]}).inputs["x"].shape == (7, 3, 2)
    assert client.request("FP32", shapes={"x": (9,)}).inputs["x"].shape == (9,)
    assert client.request("add_mul", batch=2).inputs["b"].shape == (2, 4)
    with client.request("rows", batch=8) as request:
        request.inputs["x"][:] = 1
        assert request.result()["y"].shape == (8, 3, 2)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("FP32", {}, "say which, request('FP32', shapes={'x': (8,)}), or assign an array"),
        ("FP32", {"batch": 2}, "has no batch dimension: say each input's shape, shapes={'x': (8,)"),
        ("rows", {"batch": 0}, "batch: expected at least 1, found 0"),
        ("rows", {"shapes": {"x": (1, 3, 3)}}, "'x' cannot be (1, 3, 3), expected (-1, 3, 2)"),
        ("rows", {"shapes": {"x": (1, 3)}}, "'x' cannot be (1, 3), expected (-1, 3, 2)"),
        ("rows", {"shapes": {"x": (-1, 3, 2)}}, "'x' cannot be (-1, 3, 2)"),
        ("rows", {"shapes": {"z": (1,)}}, "shapes: model 'rows' takes no input 'z', expected 'x'"),
    ],
)
def test_dimensions_that_cannot_be(client, model, options, words):
    for _ in range(2):  # Also when it is known what the model takes.
        error = failure(lambda: client.request(model, **options).inputs["x"])
        assert error.code == "INVALID_ARGUMENT"
        assert words in error.message


def test_unknown_names(client):
    with client.request("fixed", ["nothing"]) as request:
        assert "takes no input 'z'" in failure(lambda: request.inputs["z"]).message
        assert "takes no input 'z'" in failure(lambda: request.inputs.__setitem__("z", ROW)).message
        with pytest.raises(TypeError, match="names of tensors are str"):
            request.inputs[3]
        request.inputs["x"] = ROW
        assert "nothing" in failure(request.result).message
    assert failure(lambda: client.request("nowhere")).code == "NOT_FOUND"


def test_an_input_that_was_not_asked_for_is_not_sent(client):
    with client.request("add_mul") as request:
        request.inputs["a"][:] = 1
        error = failure(request.result)
        assert error.code == "INVALID_ARGUMENT"
        assert "'b'" in error.message
        request.inputs["b"][:] = 2
        assert request.result()["sum"].tolist() == [[3] * 4]


def test_outputs_ids_and_versions(client):
    with client.request("add_mul", ["sum"], version=1, id="mine") as request:
        request.inputs["a"] = request.inputs["b"] = [ROW]
        result = request.result()
        assert set(result) == {"sum"}
        assert (result.id, result.version) == ("mine", "1")


def test_results_outlive_requests_and_are_what_they_were(client):
    with client.request("add_mul") as request:
        request.inputs["b"][:] = 0
        kept = []
        for i in range(10):
            request.inputs["a"][:] = i
            kept.append(request.result()["sum"])
    assert [one[0, 0] for one in kept] == list(range(10))


def test_a_model_that_hands_its_input_on_answers_with_its_bytes(client):
    with client.request("fixed") as request:
        request.inputs["x"][:] = 1
        view, result = request.inputs["x"], request.result()["y"]
        assert np.shares_memory(view, result) or address_of(view) == address_of(result)
        view[:] = 2
        assert result.tolist() == [2] * 4
    assert view.tolist() == result.tolist() == [2] * 4


def test_many_at_once(client):
    requests = [client.request("fixed") for _ in range(100)]
    for i, request in enumerate(requests):
        request.inputs["x"][:] = i
        assert request.send() is request
    for i, request in reversed(list(enumerate(requests))):
        assert request.result()["y"].tolist() == [i] * 4


def test_waiting_less_than_it_takes(client):
    with client.request("slow") as request:
        request.inputs["x"][:] = ROW
        request.send()
        for wait in (0, 0.01):
            with pytest.raises(TimeoutError, match=f"no result within {wait:g} s"):
                request.result(wait)
        assert repr(request).endswith("to slow, sent>")
        assert request.result()["y"].tolist() == ROW.tolist()


def test_while_it_is_under_way_it_is_left_alone(client):
    with client.request("slow") as request:
        request.inputs["x"] = ROW
        request.send()
        for call in (
            request.send,
            lambda: request.inputs.__setitem__("x", ROW + 1),
            lambda: request.inputs.__setitem__("x", [1, 2]),
        ):
            error = failure(call)
            assert error.code == "FAILED_PRECONDITION"
            assert "under way" in error.message
        assert request.result()["y"].tolist() == ROW.tolist()


def test_it_can_be_cancelled_and_sent_again(client):
    with client.request("slow") as request:
        request.inputs["x"][:] = ROW
        request.send()
        request.cancel()
        assert failure(request.result).code == "CANCELLED"
        request.send()
        request.cancel()
        assert request.send().result()["y"].tolist() == ROW.tolist()
        request.cancel()  # Nothing is under way.
        assert request.result()["y"].tolist() == ROW.tolist()


def test_one_that_was_late_can_be_sent_again(client):
    with client.request("slow", timeout=0.05) as request:
        request.inputs["x"][:] = ROW
        assert failure(request.result).code in LATE
        request.inputs["x"] = ROW + 1
        assert request.result(LIMIT_S)["y"].tolist() == (ROW + 1).tolist()
        request.send(timeout=0.05)
        assert failure(request.result).code in LATE
        assert request.send(timeout=LIMIT_S).result()["y"].tolist() == (ROW + 1).tolist()


def test_leaving_the_block_cancels(client, server: Server):
    begun = time.monotonic()
    with client.request("slow") as request:
        request.inputs["x"][:] = ROW
        request.send()
    assert time.monotonic() - begun < 0.2
    request.close()
    for call in (request.result, request.send, lambda: request.inputs["x"], request.cancel):
        error = failure(call)
        assert error.code == "FAILED_PRECONDITION"
        assert "the request was closed" in error.message
    assert "closed" in repr(request)


def test_one_that_is_dropped_gives_its_memory_back(client):
    request = client.request("slow")
    request.inputs["x"][:] = ROW
    request.send()
    assert client.bytes_in_use > 0
    del request
    gc.collect()


def test_a_stream_of_a_request_that_is_sent_again(client):
    with client.request("many", shapes={"x": (2,)}) as request:
        for i in range(3):
            request.inputs["x"][:] = i
            values = [one["y"].tolist() for one in request.stream()]
            assert values == [[i, i]] * MANY
        for _ in request.stream():
            break
        assert len(list(request.stream())) == MANY
        results = request.stream(timeout=LIMIT_S)
        next(results)
        results.close()


def test_the_segment_is_full(server):
    with ShmClient(server.port, segment_bytes=1 << 20) as client:
        requests = [client.request("FP32", shapes={"x": (30_000,)}) for _ in range(10)]
        error = failure(lambda: [request.inputs["x"] for request in requests])
        assert error.code == "RESOURCE_EXHAUSTED"
        assert "finds no room" in error.message
        assert "x" in requests[1].inputs
        del requests[0]
        requests[-1].inputs["x"][:] = 1
        assert requests[-1].result()["y"].shape == (30_000,)


def test_a_model_that_was_changed_is_asked_for_anew(tmp_path):
    models = Repository(tmp_path / "models")
    models.add_identity("m", dims="2")
    flags = ("--model-control", "explicit", "--load-model", "m")
    with Server(models.path, *flags) as server, ShmClient(server.port) as client:
        assert client.infer("m", {"x": [1, 2]})["y"].dtype == np.float32
        request = client.request("m")
        config = models.path / "m" / "config.pbtxt"
        config.write_text(config.read_text().replace("TYPE_FP32", "TYPE_INT64"))
        assert server.request("POST", "/v2/repository/models/m/load", b"{}").status == 200
        request.inputs["x"][:] = 1
        assert "expected INT64" in failure(request.result).message
        assert client.request("m").inputs["x"].dtype == np.int64
        config.write_text(config.read_text().replace("TYPE_INT64", "TYPE_FP64"))
        assert server.request("POST", "/v2/repository/models/m/load", b"{}").status == 200
        # Of the same values, as what it takes now, though it is remembered otherwise.
        assert client.infer("m", {"x": [1, 2]})["y"].dtype == np.float64
        error = failure(lambda: client.infer("m", {"x": np.zeros(2, np.int8)}))
        assert "int8, expected float64" in error.message
