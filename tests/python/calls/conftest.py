"""Identity models served in this process, and models that take a while, without any server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

core = pytest.importorskip("fastserve._core")

Tensors = list[tuple[str, str, list[int]]]


@dataclass
class Served:
    """What a test calls, and what is counted of it."""

    caller: Any
    servable: Any
    serving_map: Any

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.servable.stats()
        return stats

    def retire(self) -> None:
        self.serving_map.retire(self.servable.name, self.servable.version)


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Serve:
    """serve(inputs, delay_us=0, **options of Servable): output number i is input number i."""

    def make(
        inputs: Tensors,
        *,
        delay_us: int = 0,
        repeat: int = 1,
        error: type[Exception] = core.CoreError,
        **options: Any,
    ) -> Served:
        specs = [core.TensorSpec(*tensor) for tensor in inputs]
        names = ["y"] if len(inputs) == 1 else [f"y{i}" for i in range(len(inputs))]
        outputs = [
            core.TensorSpec(name, datatype, shape)
            for name, (_, datatype, shape) in zip(names, inputs, strict=True)
        ]
        parameters = {"delay_us": str(delay_us), "repeat": str(repeat)}
        model = core.open_identity(specs, outputs, parameters=parameters)
        servable = core.Servable(
            model, name="m", version=1, inputs=specs, outputs=outputs, **options
        )
        serving_map = core.ServingMap()
        serving_map.publish(servable)
        return Served(core.Caller(serving_map, "m", error=error), servable, serving_map)

    return make


@pytest.fixture
def fp32(serve: Serve) -> Served:
    """x -> y, FP32 of sixteen elements."""
    return serve([("x", "FP32", [16])])


# Long enough that whoever measures nothing still finds it running.
RUN_US = 200_000
# A deadline that passes in a run: half of it, so that the run has begun on a busy machine, too.
WITHIN_RUN_S = RUN_US / 2e6


@pytest.fixture
def slow(serve: Serve) -> Served:
    """x -> y, FP32 of any number of elements; a run takes RUN_US on its one instance's thread."""
    return serve([("x", "FP32", [-1])], delay_us=RUN_US, caller_runs="never")


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """until(condition): waits for what another thread brings about."""

    def wait(condition: Callable[[], bool]) -> None:
        never = threading.Event()
        for _ in range(2000):
            if condition():
                return
            never.wait(0.005)
        raise AssertionError("it did not come about")

    return wait


@pytest.fixture
def until_it_runs(until: Callable[[Callable[[], bool]], None]) -> Callable[[Served], None]:
    """until_it_runs(served): what was submitted has left the queue; what comes now has to wait."""

    def wait(served: Served) -> None:
        until(lambda: served.stats()["queue_depth"] == 0)

    return wait
