"""What the faults happen to: servers that are starved, killed and lied to."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import kserve
from tests.attacks.raw_http import post
from tests.faults import failing
from tests.served import Answer, Repository, Server

# What processes of this age are asked for by clock_gettime: CPUCLOCK_SCHED of a process.
_PROCESS_CPU_CLOCK = 2


MODELS = ("echo", "busy", "engine", "batches")


def numbered(number: int, model: str = "echo") -> bytes:
    """A request whose right answer is its own."""
    data = np.array([[number, -number, number + 1]], np.float32)
    request = {"id": str(number), "inputs": [kserve.tensor("x", data)]}
    return post(model, json.dumps(request).encode())


def is_right(answer: Answer, number: int) -> bool:
    """Whether it is a 200, which must be right then."""
    if answer.status != 200:
        return False
    assert answer.json["id"] == str(number)
    assert answer.json["outputs"][0]["data"] == [number, -number, number + 1]
    return True


def cpu_s(server: Server) -> float:
    """CPU time of the server so far, its threads' included."""
    return time.clock_gettime((~server.pid << 3) | _PROCESS_CPU_CLOCK)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return failing.build(tmp_path_factory.mktemp("failing"))


@pytest.fixture
def calls(library: Path, tmp_path: Path) -> failing.FailingCalls:
    return failing.FailingCalls(library, tmp_path)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All give back what they get: at once, after 20 ms, out of an engine, in batches."""
    repository = Repository(tmp_path_factory.mktemp("faults") / "models")
    repository.add_identity("echo", dims="-1, -1")
    repository.add_identity("busy", dims="-1, -1", delay_us=20_000)
    repository.add("identity_fp32", "engine")
    repository.add_identity("batches", more="max_batch_size: 8 dynamic_batching { }")
    return repository.path


@pytest.fixture(scope="module", autouse=True)
def healthy_afterwards() -> Iterator[None]:
    """Whatever a module did, its servers live and hold nothing of it."""
    yield
    for running in Server.running:
        running.check_healthy()
