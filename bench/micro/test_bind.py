"""Calls that Python makes into the core. Nothing here is asserted about time: compare runs with
`pytest bench/micro --benchmark-save=NAME` and `--benchmark-compare`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

core = pytest.importorskip("fastserve._core")
pytest.importorskip("pytest_benchmark")


class Transport(asyncio.Transport):
    """Takes what a socket would take; keeps the last write only."""

    def __init__(self) -> None:
        self.last = b""

    def write(self, data: Any) -> None:
        self.last = data

    def writelines(self, list_of_data: Any) -> None:
        self.last = b"".join(list_of_data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002
        return default

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


@pytest.fixture
def servable() -> Any:
    specs = [core.TensorSpec("INPUT0", "FP32", [16])], [core.TensorSpec("OUTPUT0", "FP32", [16])]
    model = core.open_identity(*specs)
    return core.Servable(model, name="identity16", version=1, inputs=specs[0], outputs=specs[1])


@pytest.fixture
def connection(servable: Any) -> Iterator[tuple[Any, Any, Transport]]:
    """(gateway, connection, transport) on a loop that the caller turns by hand."""

    class Connection(core.Connection, asyncio.BufferedProtocol):  # type: ignore[misc, name-defined]
        __slots__ = ()

    loop = asyncio.new_event_loop()
    serving_map = core.ServingMap()
    serving_map.publish(servable)
    gateway = core.Gateway(serving_map, loop, lambda request: request.respond(200))
    protocol, transport = Connection(gateway), Transport()
    protocol.connection_made(transport)
    yield gateway, protocol, transport
    protocol.connection_lost(None)
    loop.close()


def feed(protocol: Any, data: bytes) -> None:
    view = protocol.get_buffer(-1)
    view[: len(data)] = data
    protocol.buffer_updated(len(data))


def test_a_health_check_through_python(
    benchmark: Any, connection: tuple[Any, Any, Transport]
) -> None:
    gateway, protocol, transport = connection
    request = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"

    def once() -> None:
        feed(protocol, request)
        gateway.drain()

    benchmark(once)
    assert bytes(transport.last).startswith(b"HTTP/1.1 200")


def test_a_snapshot_of_a_servables_counters(benchmark: Any, servable: Any) -> None:
    assert benchmark(servable.stats)["success"] == 0


def test_making_a_tensor_spec(benchmark: Any) -> None:
    spec = benchmark(core.TensorSpec, "INPUT0", "FP32", [-1, 64])
    assert json.dumps(spec.shape) == "[-1, 64]"
