"""ModelStreamInfer, through tritonclient."""

import asyncio
import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.utils import InferenceServerException

from tests.served import Repository, Server

MANY = 50


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = Repository(tmp_path_factory.mktemp("streams") / "models")
    models.add_identity("one")
    models.add_identity("slow", delay_us=200_000)
    for name, count in (("many", MANY), ("none", 0)):
        models.add_identity(
            name,
            more=f"""
                parameters {{ key: "repeat" value {{ string_value: "{count}" }} }}
                model_transaction_policy {{ decoupled: true }}
            """,
        )
    with Server(models.path) as server:
        yield server


class Stream:
    """What comes back, in order."""

    def __init__(self, server: Server, **options: Any) -> None:
        self._client = tritonclient.grpc.InferenceServerClient(server.address)
        self._answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._client.start_stream(self._put, **options)

    def _put(self, result: Any, error: Any) -> None:
        self._answers.put((result, error))

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.stop_stream()
        self._client.close()

    def ask(self, model: str, value: float, request_id: str = "", **options: Any) -> None:
        self._client.async_stream_infer(model, [numbers(value)], request_id=request_id, **options)

    def take(self) -> Any:
        result, error = self._answers.get(timeout=20)
        if error is not None:
            raise error
        return result


def numbers(value: float) -> Any:
    tensor = tritonclient.grpc.InferInput("x", [3], "FP32")
    tensor.set_data_from_numpy(np.full(3, value, np.float32))
    return tensor


def ignore(result: Any, error: Any) -> None:
    assert result is None or error is None


def is_final(result: Any) -> bool:
    final: bool = result.get_response().parameters["triton_final_response"].bool_param
    return final


def test_answers_keep_the_order_of_their_requests(streamed):
    with Stream(streamed) as stream:
        stream.ask("slow", 0, "slow")
        for number in range(500):
            stream.ask("one", number, str(number))
        assert stream.take().get_response().id == "slow"
        for number in range(500):
            result = stream.take()
            assert result.get_response().id == str(number)
            assert result.as_numpy("y")[0] == number


def test_a_request_has_as_many_responses_as_its_model_gives(streamed):
    with Stream(streamed) as stream:
        for model in ("many", "none", "many", "one"):
            stream.ask(model, 1, model)
        found = [stream.take().get_response().model_name for _ in range(2 * MANY + 1)]
    assert found == ["many"] * 2 * MANY + ["one"]


def test_the_last_response_is_marked_for_who_asks(streamed):
    with Stream(streamed) as stream:
        stream.ask("many", 1, enable_empty_final_response=True)
        stream.ask("none", 1, enable_empty_final_response=True)
        results: list[Any] = []
        while not results or not is_final(results[-1]):
            results.append(stream.take())
        assert sum(len(result.get_response().outputs) for result in results) == MANY
        only = stream.take()
        assert is_final(only)
        assert only.get_response().model_name == "none"
        assert not only.get_response().outputs


def test_an_error_is_said_in_its_place_and_the_stream_goes_on(streamed):
    with Stream(streamed) as stream:
        stream.ask("nothing", 1, "a")
        stream.ask("one", 2, "b", outputs=[tritonclient.grpc.InferRequestedOutput("z")])
        stream.ask("one", 3, "c")
        with pytest.raises(InferenceServerException, match="there is no model 'nothing'"):
            stream.take()
        with pytest.raises(InferenceServerException, match="unknown output 'z'"):
            stream.take()
        assert stream.take().get_response().id == "c"


def test_who_asks_for_it_gets_an_error_as_the_streams_end(streamed):
    with Stream(streamed, headers={"triton_grpc_error": "true"}) as stream:
        stream.ask("one", 1)
        assert stream.take().as_numpy("y")[0] == 1
        stream.ask("nope", 1)
        with pytest.raises(InferenceServerException) as caught:
            stream.take()
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert "there is no model 'nope'" in caught.value.message()
    streamed.check_healthy()


def test_a_plain_request_takes_exactly_one_response(streamed):
    with (
        tritonclient.grpc.InferenceServerClient(streamed.address) as client,
        pytest.raises(InferenceServerException, match="gave 50 responses"),
    ):
        client.infer("many", [numbers(1)])


def test_a_deadline_ends_the_stream(streamed):
    with Stream(streamed, stream_timeout=0.5) as stream:
        for _ in range(20):
            stream.ask("slow", 1)
        found = []
        while "StatusCode.DEADLINE_EXCEEDED" not in found:
            try:
                found.append(stream.take().get_response().model_name)
            except InferenceServerException as error:
                found.append(error.status())  # None: of one request.
        assert len(found) <= 21


def test_a_cancelled_stream_takes_its_requests_along(streamed):
    client = tritonclient.grpc.InferenceServerClient(streamed.address)
    client.start_stream(ignore)
    for _ in range(30):
        client.async_stream_infer("slow", [numbers(1)])
    client.stop_stream(cancel_requests=True)
    client.close()
    # The server is idle soon, as the end of this module's server insists.
    with tritonclient.grpc.InferenceServerClient(streamed.address) as other:
        assert other.infer("slow", [numbers(2)], client_timeout=5).as_numpy("y")[0] == 2


def test_asyncio(streamed):
    async def requests() -> Any:
        for number in range(20):
            yield {"model_name": "one", "inputs": [numbers(number)], "request_id": str(number)}

    async def ask() -> list[str]:
        found = []
        async with tritonclient.grpc.aio.InferenceServerClient(streamed.address) as client:
            async for result, error in client.stream_infer(requests()):
                assert error is None
                found.append(result.get_response().id)
                if len(found) == 20:
                    break
        return found

    assert asyncio.run(ask()) == [str(number) for number in range(20)]


def test_a_server_that_ends_answers_what_is_there(tmp_path: Path):
    models = Repository(tmp_path / "models")
    models.add_identity("slow", delay_us=300_000)
    with Server(models.path) as server, Stream(server) as stream:
        stream.ask("slow", 7)
        time.sleep(0.1)  # It runs.
        server.end()
        assert stream.take().as_numpy("y")[0] == 7
