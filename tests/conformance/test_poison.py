"""One bad request among 31 good ones that arrive together: only the bad one fails."""

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import numpy as np
import pytest

from tests import kserve
from tests.conformance import made
from tests.served import JOINING, Answer, Repository, Server

TOGETHER = 32
TIMEOUT_S = 30


@pytest.fixture(scope="module", params=["auto", "never"])
def joining_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Its batches wait long enough for all that was sent at once to join them."""
    models = Repository(tmp_path_factory.mktemp("poison") / "models")
    models.add("add_mul", config=JOINING)
    models.add_made("pick", made.pick(), config=JOINING)
    with Server(models.path, "--caller-runs", request.param) as running:
        yield running


def send_together(server: Server, model: str, requests: list[dict[str, Any]]) -> list[Answer]:
    async def send_all() -> list[Answer]:
        connector = aiohttp.TCPConnector(limit=len(requests))
        time_out = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=time_out) as session:

            async def send(request: dict[str, Any]) -> Answer:
                url = f"http://{server.address}/v2/models/{model}/infer"
                async with session.post(url, json=request) as response:
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    return Answer(response.status, headers, await response.read())

            return await asyncio.gather(*map(send, requests))

    return asyncio.run(send_all())


def add_mul_request(number: int) -> dict[str, Any]:
    a = np.full((1, 4), number, np.float32)
    return {"id": str(number), "inputs": [kserve.tensor("a", a), kserve.tensor("b", a + 1)]}


def pick_request(number: int, index: int) -> dict[str, Any]:
    x = np.arange(4, dtype=np.float32).reshape(1, 4) + 10 * number
    indices = np.array([[index]], np.int64)
    return {"id": str(number), "inputs": [kserve.tensor("x", x), kserve.tensor("index", indices)]}


def check_add_mul(number: int, answer: Answer) -> None:
    came = kserve.result(answer)
    assert came.header["id"] == str(number)
    np.testing.assert_array_equal(came.outputs["sum"], [[2 * number + 1] * 4])
    np.testing.assert_array_equal(came.outputs["product"], [[number * (number + 1)] * 4])


def test_requests_that_arrive_together_are_joined(joining_server):
    """Without this the tests below would prove nothing."""
    name = "fastserve_executions_total"
    before = joining_server.metrics().sum(name, model="add_mul")
    requests = [add_mul_request(number) for number in range(TOGETHER)]
    for number, answer in enumerate(send_together(joining_server, "add_mul", requests)):
        check_add_mul(number, answer)
    executions = joining_server.metrics().sum(name, model="add_mul") - before
    assert executions <= TOGETHER / 2, f"{executions} runs for {TOGETHER} requests"


@pytest.mark.parametrize("position", [0, 15, TOGETHER - 1])
@pytest.mark.parametrize("shape", [[1, 5], [1, 2, 2], [4]])
def test_a_wrong_shape_harms_nobody_else(joining_server, position, shape):
    requests = [add_mul_request(number) for number in range(TOGETHER)]
    requests[position]["inputs"][0] = kserve.tensor("a", np.zeros(shape, np.float32))
    for number, answer in enumerate(send_together(joining_server, "add_mul", requests)):
        if number != position:
            check_add_mul(number, answer)
            continue
        assert answer.status == 400, answer
        assert "'a'" in answer.error
        assert "[-1,4]" in answer.error
        assert str(shape).replace(" ", "") in answer.error


@pytest.mark.parametrize("position", [0, 15, TOGETHER - 1])
def test_inputs_of_different_rows_harm_nobody_else(joining_server, position):
    requests = [add_mul_request(number) for number in range(TOGETHER)]
    requests[position]["inputs"][1] = kserve.tensor("b", np.zeros((2, 4), np.float32))
    for number, answer in enumerate(send_together(joining_server, "add_mul", requests)):
        if number != position:
            check_add_mul(number, answer)
            continue
        assert answer.status == 400, answer
        assert "'b'" in answer.error or "'a'" in answer.error
        assert "2" in answer.error


@pytest.mark.parametrize("positions", [[0], [15], [TOGETHER - 1], [3, 4, 29]])
def test_a_value_that_fails_the_engine_harms_nobody_else(joining_server, positions):
    requests = [
        pick_request(number, 9 if number in positions else number % 4) for number in range(TOGETHER)
    ]
    for number, answer in enumerate(send_together(joining_server, "pick", requests)):
        if number in positions:
            # The engine alone knows what is wrong; its own words are the reason.
            assert answer.status in (400, 500), answer
            assert "index" in answer.error.lower()
            continue
        came = kserve.result(answer)
        assert came.header["id"] == str(number)
        np.testing.assert_array_equal(came.outputs["y"], [[10 * number + number % 4]])


def test_the_server_serves_on_after_a_failure(joining_server):
    answer = joining_server.post("pick", pick_request(1, 99))
    assert answer.status in (400, 500), answer
    came = kserve.result(joining_server.post("pick", pick_request(1, 3)))
    np.testing.assert_array_equal(came.outputs["y"], [[13]])
