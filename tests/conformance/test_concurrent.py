"""A thousand requests at once: every one is answered once, with what the bare engine says."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
import onnxruntime
import pytest

from tests import kserve
from tests.conformance import made
from tests.served import MODELS, Repository, Server

REQUESTS = 1000
CONNECTIONS = 64
TIMEOUT_S = 60
# Name -> columns of each input. Rows of center_rows must not be joined with other requests'.
COLUMNS = {"mlp": {"x": 64}, "add_mul": {"a": 4, "b": 4}, "center_rows": {"x": 2}}
ROWS = (1, 1, 1, 2, 3, 5, 8, 17, 32)
# Sums in another order differ in the last bits.
TOLERANCE = 1e-5

Engines = dict[str, onnxruntime.InferenceSession]


@dataclass(frozen=True)
class Case:
    """One request: what goes out, and what must come back."""

    request_id: str
    model: str
    body: bytes
    headers: dict[str, str]
    expected: dict[str, Any]


@pytest.fixture(scope="module")
def engines() -> Engines:
    """The same models in this process, without a server."""
    content = {name: (MODELS / f"{name}.onnx").read_bytes() for name in COLUMNS if name != "mlp"}
    content["mlp"] = made.mlp()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return {
        name: onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for name, model in content.items()
    }


@pytest.fixture(scope="module", params=["auto", "never"])
def caller_runs(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[1, 3])
def busy_server(
    request: pytest.FixtureRequest, caller_runs: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    models = Repository(tmp_path_factory.mktemp("concurrent") / "models")
    models.add("add_mul")
    models.add("center_rows")
    models.add_made("mlp", made.mlp())
    flags = ("--caller-runs", caller_runs, "--instances", str(request.param))
    with Server(models.path, *flags) as running:
        yield running


def make_case(engines: Engines, random: np.random.Generator, number: int) -> Case:
    model = str(random.choice(list(COLUMNS)))
    rows = int(random.choice(ROWS))
    arrays = {
        name: random.standard_normal((rows, columns)).astype(np.float32)
        for name, columns in COLUMNS[model].items()
    }
    engine = engines[model]
    names = [output.name for output in engine.get_outputs()]
    expected = dict(zip(names, engine.run(names, arrays), strict=True))
    request_id = f"{model}-{number}"
    fields = {"id": request_id, "parameters": {"binary_data_output": bool(random.integers(2))}}
    if random.integers(2):
        tensors = [kserve.binary_tensor(name, array) for name, array in arrays.items()]
        body, headers = kserve.binary_body(tensors, **fields)
    else:
        inputs = [kserve.tensor(name, array) for name, array in arrays.items()]
        body, headers = json.dumps({"inputs": inputs, **fields}).encode(), {}
    return Case(request_id, model, body, headers, expected)


async def send_all(server: Server, cases: list[Case]) -> list[kserve.Result]:
    """Every case at once; the answers in the order of the cases."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    time_out = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=time_out) as session:

        async def send(case: Case) -> kserve.Result:
            url = f"http://{server.address}/v2/models/{case.model}/infer"
            async with session.post(url, data=case.body, headers=case.headers) as response:
                body = await response.read()
                assert response.status == 200, (case.request_id, response.status, body)
                lowered = {name.lower(): value for name, value in response.headers.items()}
                return kserve.parse(lowered, body)

        return await asyncio.gather(*map(send, cases))


@pytest.mark.parametrize("seed", range(2))
def test_every_answer_is_the_engines_own(busy_server, engines, seed):
    random = np.random.default_rng(seed)
    cases = [make_case(engines, random, number) for number in range(REQUESTS)]
    before = busy_server.metrics().sum("fastserve_requests_total")
    results = asyncio.run(send_all(busy_server, cases))
    after = busy_server.metrics()

    # An answer that came twice on a connection would be taken for the next one's.
    assert [result.header["id"] for result in results] == [case.request_id for case in cases]
    for case, result in zip(cases, results, strict=True):
        assert set(result.outputs) == set(case.expected), case.request_id
        for name, expected in case.expected.items():
            np.testing.assert_allclose(
                result.outputs[name], expected, rtol=TOLERANCE, atol=TOLERANCE,
                err_msg=f"{case.request_id}: output {name}",
            )  # fmt: skip
    assert after.sum("fastserve_requests_total") - before == REQUESTS
    assert after.sum("fastserve_request_failures_total") == 0


def test_caller_runs_happen_only_where_they_may(busy_server, caller_runs):
    if caller_runs == "never":
        assert busy_server.metrics().sum("fastserve_caller_runs_total") == 0
    else:
        assert busy_server.metrics().sum("fastserve_executions_total") > 0
