"""What these tests share: a real server, a client of it that holds nothing in the end."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastserve.client.shm import CallError, ShmClient
from tests.python.client.conftest import DATATYPES, LIMIT_S, MANY
from tests.served import Repository, Server

# What the server says of a request that is late, or would be.
LATE = ("DEADLINE_EXCEEDED", "UNAVAILABLE")
DECOUPLED = """
parameters {{ key: "repeat" value {{ string_value: "{}" }} }}
model_transaction_policy {{ decoupled: true }}
"""


def add_models(path: Path) -> Repository:
    models = Repository(path)
    models.add("add_mul")
    for datatype in DATATYPES:
        models.add_identity(datatype, datatype=datatype)
    models.add_identity("strings", datatype="STRING")
    models.add_identity("rows", dims="3, 2", more="max_batch_size: 8")
    models.add_identity("fixed", dims="4")
    models.add_identity(
        "optional", dims="4",
        more='''
            input { name: "more" data_type: TYPE_FP32 dims: [ 2 ] optional: true }
            output { name: "and_more" data_type: TYPE_FP32 dims: [ 2 ] }
        ''',
    )  # fmt: skip
    models.add_identity("slow", dims="4", delay_us=300_000)
    models.add_identity("many", more=DECOUPLED.format(MANY))
    models.add_identity("none", more=DECOUPLED.format(0))
    return models


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = add_models(tmp_path_factory.mktemp("shm") / "models")
    with Server(models.path) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[ShmClient]:
    with ShmClient(server.port, timeout=LIMIT_S, segment_bytes=4 << 20) as made:
        yield made
        gc.collect()
        if made.is_connected:  # What was dropped is over, and is given back, when somebody waits.
            made.infer("fixed", {"x": [0, 0, 0, 0]})
        assert made.bytes_in_use == 0


def failure(call: Callable[[], Any]) -> CallError:
    with pytest.raises(CallError) as caught:
        call()
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value
