"""Arrays in, arrays out: in-process calls, alone, together, and beside HTTP."""

import asyncio
import concurrent.futures
import threading

import numpy as np
import pytest

import fastserve
from fastserve.errors import Error

PAIR = np.array([[1.5, -2.0]], np.float32)
THREADS, CALLS = 16, 50


@pytest.fixture
def model(server, repository):
    return server.load(repository())


def heldout(path):
    """The committed images of digits, and what they are."""
    lines = [
        line.split()
        for line in path.with_name("heldout.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    images = [[int(ink, 17) for ink in pixels] for _, pixels in lines]
    labels = np.array([int(label) for label, _ in lines], np.int64)
    return np.array(images, np.float32).reshape(-1, 8, 8), labels


def test_a_model_answers_with_arrays(server, digits):
    model = server.load(digits)
    images, labels = heldout(digits)
    answer = model.infer({"image": images[:8]})
    assert list(answer) == ["probabilities", "label"]
    assert answer["probabilities"].shape == (8, 10)
    assert answer["probabilities"].dtype == np.float32
    assert answer["label"].tolist() == labels[:8].tolist()


def test_only_the_outputs_that_were_asked_for_come(server, digits):
    images, _ = heldout(digits)
    answer = server.load(digits).infer({"image": images[:1]}, ["label"])
    assert list(answer) == ["label"]


def test_the_only_input_needs_no_name(model):
    assert model.infer(PAIR)["y"].tolist() == PAIR.tolist()


def test_what_does_not_fit_names_the_tensor(model):
    with pytest.raises(Error, match="'x'") as told:
        model.infer({"x": np.zeros((1, 3), np.float32)})
    assert (told.value.code, told.value.http_status) == ("INVALID_ARGUMENT", 400)
    assert model.stats().failure["invalid"] == 1


def test_a_submitted_call_is_a_future(model):
    futures = [model.submit({"x": PAIR * i}) for i in range(8)]
    assert [f.result()["y"][0, 0] for f in futures] == [1.5 * i for i in range(8)]
    assert all(future.done() for future in futures)


def test_a_call_whose_time_is_up_before_it_runs_ends(server, repository):
    model = server.load(repository(delay_us=100_000))
    blocker = model.submit({"x": PAIR})
    with pytest.raises(Error) as told:
        model.infer({"x": PAIR}, timeout=0.001)
    assert told.value.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
    assert blocker.result()["y"].tolist() == PAIR.tolist()


def test_a_coroutine_awaits_its_answer(model, run_async):
    async def main():
        return await model.ainfer({"x": PAIR})

    assert run_async(main())["y"].tolist() == PAIR.tolist()


# A running loop in the main thread is a notebook's usual state.
def test_infer_works_inside_a_running_loop(model, run_async):
    async def main():
        return model.infer({"x": PAIR}), model.submit({"x": PAIR}).result()

    assert [answer["y"].tolist() for answer in run_async(main())] == [PAIR.tolist()] * 2


def test_calls_that_are_awaited_together_share_batches(server, repository, run_async):
    model = server.load(repository(delay_us=1000), caller_runs="never")
    before = model.stats()

    async def main():
        return await asyncio.gather(*(model.ainfer({"x": PAIR * i}) for i in range(200)))

    answers = run_async(main())
    assert [answer["y"][0, 0] for answer in answers] == [1.5 * i for i in range(200)]
    stats = model.stats()
    assert stats.success - before.success == 200
    assert stats.executions - before.executions < 100


def test_http_and_calls_share_batches_and_stats(server, repository, ask, echo_body):
    model = server.load(repository(delay_us=100_000))
    before = model.stats()
    with server.listen(port=0) as listener, concurrent.futures.ThreadPoolExecutor(9) as pool:
        blocker = model.submit({"x": PAIR})  # While it runs, the others gather.
        asked = [pool.submit(ask, listener, "/v2/models/echo/infer", echo_body) for _ in range(4)]
        called = [pool.submit(model.infer, {"x": PAIR}) for _ in range(4)]
        assert [reply.result().status for reply in asked] == [200] * 4
        assert [call.result()["y"].shape for call in called] == [(1, 2)] * 4
        assert blocker.result()["y"].shape == (1, 2)
        metrics = ask(listener, "/metrics").body
    stats = model.stats()
    assert stats.success - before.success == 9
    assert stats.executions - before.executions < 9
    assert b"fastserve_requests_total{" in metrics


def test_sixteen_threads_call_one_model_while_another_comes_and_goes(server, repository, add_mul):
    model = server.load(repository())
    wrong: list[object] = []
    done = threading.Event()

    def hammer(number):
        for i in range(CALLS):
            value = np.full((1, 2), number * CALLS + i, np.float32)
            answer = model.infer({"x": value})["y"]
            if not np.array_equal(answer, value):
                wrong.append((number, i, answer))

    def come_and_go():
        while not done.is_set():
            server.load(add_mul).unload()

    coming = threading.Thread(target=come_and_go)
    coming.start()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(hammer, number) for number in range(THREADS)]:
            future.result()
    done.set()
    coming.join()
    assert wrong == []
    assert model.stats().success >= THREADS * CALLS


# -- The end -------------------------------------------------------------------------------------

ENDS = {"UNAVAILABLE", "NOT_FOUND", "FAILED_PRECONDITION", "CANCELLED"}


def outcome(future):
    """ "OK", or the error's code."""
    try:
        future.result()
    except Error as error:
        return error.code
    return "OK"


def test_calls_that_wait_end_when_the_server_closes_and_those_that_run_are_answered(repository):
    with fastserve.Server() as server:
        model = server.load(repository(delay_us=50_000))
        futures = [model.submit({"x": PAIR}) for _ in range(200)]
        server.close()
        outcomes = [outcome(future) for future in futures]
        assert set(outcomes) <= {"OK", "UNAVAILABLE"}
        # At most two batches: one that ran, one that was taken meanwhile.
        assert outcomes.count("UNAVAILABLE") >= 200 - 2 * 32


def test_calls_in_flight_are_answered_when_their_model_is_unloaded(server, repository):
    model = server.load(repository(delay_us=10_000))
    futures = [model.submit({"x": PAIR}) for _ in range(100)]
    model.unload()
    assert {outcome(future) for future in futures} == {"OK"}


def test_threads_that_call_while_the_server_closes_end_with_a_clear_error(repository):
    with fastserve.Server() as server:
        model = server.load(repository(delay_us=1000))
        started = threading.Barrier(9)

        def hammer():
            started.wait()
            while True:
                try:
                    model.infer({"x": PAIR})
                except Error as error:
                    return error.code

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(hammer) for _ in range(8)]
            started.wait()
            server.close()
            assert {future.result() for future in futures} <= ENDS


def test_awaited_calls_end_when_the_server_closes(repository, run_async):
    async def main():
        async with fastserve.Server() as server:
            model = server.load(repository(delay_us=20_000))
            calls = [asyncio.ensure_future(model.ainfer({"x": PAIR})) for _ in range(100)]
            await asyncio.sleep(0)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        return {getattr(answer, "code", "OK") for answer in answers}

    assert run_async(main()) <= ENDS | {"OK"}
