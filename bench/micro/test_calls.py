"""Calls of a model from Python of the same process, beside what they are made of. Nothing here is
asserted about time: compare the rows of one run, `pytest bench/micro/test_calls.py`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

core = pytest.importorskip("fastserve._core")
np = pytest.importorskip("numpy")
pytest.importorskip("pytest_benchmark")

BURST = 32


def serve(model: Any, inputs: Any, outputs: Any) -> tuple[Any, Any]:
    """(caller, servable)"""
    servable = core.Servable(model, name="m", version=1, inputs=inputs, outputs=outputs)
    servable.warm_up()
    serving_map = core.ServingMap()
    serving_map.publish(servable)
    return core.Caller(serving_map, "m"), servable


@pytest.fixture
def identity() -> Any:
    inputs, outputs = [core.TensorSpec("x", "FP32", [16])], [core.TensorSpec("y", "FP32", [16])]
    return serve(core.open_identity(inputs, outputs), inputs, outputs)[0]


@pytest.fixture(scope="module")
def mlp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    from tests.models.make_models import make_files

    path: Path = tmp_path_factory.mktemp("mlp") / "mlp.onnx"
    path.write_bytes(make_files(["mlp"])["mlp.onnx"])
    return path


@pytest.fixture
def mlp(mlp_path: Path) -> tuple[Any, Any]:
    from fastserve.control.loading.engine import onnxruntime_library

    model = core.open_onnxruntime(str(mlp_path), library=onnxruntime_library())
    return serve(model, model.inputs, model.outputs)


X16 = np.arange(16, dtype=np.float32)
X64 = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 64)


def test_infer_identity(benchmark: Any, identity: Any) -> None:
    answer = benchmark(identity.infer, {"x": X16})
    assert np.array_equal(answer["y"], X16)


def test_infer_identity_of_a_list(benchmark: Any, identity: Any) -> None:
    answer = benchmark(identity.infer, {"x": X16.tolist()})
    assert np.array_equal(answer["y"], X16)


def test_infer_mlp(benchmark: Any, mlp: tuple[Any, Any]) -> None:
    caller, _ = mlp
    benchmark(caller.infer, X64)


@pytest.fixture
def session(mlp_path: Path) -> Any:
    """The other way to call the same library from Python, with the same options."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(mlp_path), options, providers=["CPUExecutionProvider"])


def test_infer_mlp_with_onnxruntimes_own_module(benchmark: Any, session: Any) -> None:
    benchmark(session.run, None, {session.get_inputs()[0].name: X64})


# Nothing is made or looked up for a call: as near to the C function as Python comes.
def test_infer_mlp_with_onnxruntimes_own_module_bound(benchmark: Any, session: Any) -> None:
    binding = session.io_binding()
    binding.bind_cpu_input(session.get_inputs()[0].name, X64)
    binding.bind_output(session.get_outputs()[0].name)
    benchmark(session.run_with_iobinding, binding)


def test_submit_and_result_of_a_burst(benchmark: Any, identity: Any) -> None:
    inputs = {"x": X16}

    def burst() -> None:
        futures = [identity.submit(inputs) for _ in range(BURST)]
        for future in futures:
            future.result()

    benchmark(burst)
    benchmark.extra_info["calls_per_second"] = round(BURST / benchmark.stats["median"])


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_ainfer_of_a_burst(benchmark: Any, identity: Any, kind: str) -> None:
    loop = pytest.importorskip(kind).new_event_loop()
    inputs = {"x": X16}

    async def burst() -> None:
        await asyncio.gather(*[identity.ainfer(inputs) for _ in range(BURST)])

    benchmark(lambda: loop.run_until_complete(burst()))
    benchmark.extra_info["calls_per_second"] = round(BURST / benchmark.stats["median"])
    loop.close()
