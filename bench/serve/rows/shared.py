"""Identity of 602,112 bytes in registered shared memory, beside a request that carries 64 bytes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from bench.serve import exchange, payload
from bench.serve.exchange import Response
from bench.serve.pairing import rotated, spread
from bench.serve.payload import Request
from bench.serve.processes import Server
from bench.serve.report import Figure, Row
from bench.serve.rows.session import Contestant, Sample, Session, require, require_echo

SMALL, LARGE = 16, 150_528
BYTES = 4 * LARGE
CONNECTIONS = 8
REGION = "bench"
BEYOND_MEMCPY_TARGET_US = 25.0
COPIES = 300
IN_REQUEST, SHARED, IN_BODY = "64 bytes", "602 KB in shared memory", "602 KB over HTTP"


@dataclass(frozen=True)
class Asked:
    """A request and the check of its answer."""

    request: Request
    check: Any


@contextmanager
def registered(server: Server) -> Iterator[memoryview]:
    """An object of twice the tensor's bytes, registered under REGION."""
    memory = SharedMemory(f"fastserve-bench-{os.getpid()}", create=True, size=2 * BYTES)
    try:
        body = json.dumps({"key": memory.name, "offset": 0, "byte_size": 2 * BYTES}).encode()
        path = f"/v2/systemsharedmemory/region/{REGION}/register"
        answer = exchange.exchange(server.port, Request(path, (), body).encoded())
        require(answer.status == 200, f"status {answer.status}: {answer.body[:300]!r}")
        assert memory.buf is not None
        yield memory.buf
    finally:
        memory.close()
        memory.unlink()


def range_of(offset: int) -> dict[str, Any]:
    return {
        "shared_memory_region": REGION,
        "shared_memory_offset": offset,
        "shared_memory_byte_size": BYTES,
    }


def shared_request(model: str) -> Request:
    """As tritonclient.http writes it."""
    body = {
        "inputs": [
            {
                "name": "INPUT0",
                "shape": [LARGE],
                "datatype": "FP32",
                "parameters": range_of(0),
            }
        ],
        "outputs": [{"name": "OUTPUT0", "parameters": range_of(BYTES)}],
    }
    return Request(f"/v2/models/{model}/infer", (), json.dumps(body).encode())


def memcpy_us(memory: memoryview) -> float:
    """CPU time of copying the tensor from one half of the object to the other."""
    began = time.process_time()
    for _ in range(COPIES):
        memory[BYTES:] = memory[:BYTES]
    return (time.process_time() - began) / COPIES * 1e6


def run(session: Session) -> Row:
    row = Row("shared")
    repository, small = session.identity_repository(SMALL)
    large = f"identity{LARGE}"
    payload.write_model(repository, large, payload.identity_config(large, LARGE))
    few, many = payload.floats(SMALL, seed=1), payload.floats(LARGE, seed=2)
    with ExitStack() as stack:
        server = stack.enter_context(session.serve("shared", repository))
        memory = stack.enter_context(registered(server))
        memory[:BYTES] = many

        def require_copy(answer: Response) -> None:
            require(answer.status == 200, f"status {answer.status}: {answer.body[:300]!r}")
            require(bytes(memory[BYTES:]) == many, "the region has no echo")
            memory[BYTES:] = bytes(BYTES)

        asked = {
            IN_REQUEST: Asked(
                payload.binary_request(small, "INPUT0", [SMALL], few),
                lambda answer: require_echo(answer, few),
            ),
            SHARED: Asked(shared_request(large), require_copy),
            IN_BODY: Asked(
                payload.binary_request(large, "INPUT0", [LARGE], many),
                lambda answer: require_echo(answer, many),
            ),
        }
        samples: dict[str, list[Sample]] = {name: [] for name in asked}
        copies: list[float] = []
        for number in range(session.pairs):
            for name in rotated(list(asked), number):
                one = asked[name]
                contestant = Contestant(server, one.check)
                samples[name].append(session.closed_run(contestant, one.request, CONNECTIONS))
            copies.append(memcpy_us(memory))
    cost = {name: [one.cpu_us for one in runs] for name, runs in samples.items()}
    for name, values in cost.items():
        label = f"c={CONNECTIONS} CPU per request, {name}"
        row.figures.append(Figure.of(label, spread(values), "us"))
    row.figures.append(Figure.of("memcpy of 602 KB", spread(copies), "us"))
    beyond = [
        shared - small_one - copy
        for shared, small_one, copy in zip(cost[SHARED], cost[IN_REQUEST], copies, strict=True)
    ]
    row.figures.append(
        Figure.of(
            f"c={CONNECTIONS} CPU of {SHARED}, less that of {IN_REQUEST} and a memcpy",
            spread(beyond), "us", BEYOND_MEMCPY_TARGET_US, "<=",
        )
    )  # fmt: skip
    row.runs += [{**one.plain(), "asked": name} for name, runs in samples.items() for one in runs]
    return row
