"""A typed program of a user passes mypy --strict, and a mistaken one does not."""

import pytest

from tests.python.embed.conftest import ROOT

api = pytest.importorskip("mypy.api", reason="the extra `lint` is not installed")

PROGRAM = """
import asyncio
from typing import Any

import fastserve
import numpy as np
from numpy.typing import NDArray


def classify(image: NDArray[np.float32]) -> int:
    with fastserve.Server(max_batch=8, drain_timeout="2s") as server:
        model: fastserve.Model = server.load("digits.onnx", max_queue_delay=0.001, version=2)
        answer: dict[str, NDArray[Any]] = model.infer({"image": image})
        future: fastserve.Future = model.submit({"image": image})
        later: dict[str, NDArray[Any]] = future.result()
        names: list[str] = [tensor.name for tensor in model.inputs]
        stats: fastserve.ModelStats = model.stats()
        with server.listen("127.0.0.1", 0) as listener:
            print(listener.url, listener.port + 1, names, later, stats.mean_batch_rows)
        return int(answer["label"][0])


async def serve() -> None:
    async with fastserve.Server() as server:
        model = await server.aload("digits.onnx")
        (await model.ainfer({"image": np.zeros((1, 8, 8), np.float32)}))["label"].sum()
        async with await server.alisten(port=0) as listener:
            print(listener.is_open)
    try:
        server.load("x")
    except fastserve.Error as error:
        print(error.code.lower(), error.http_status + 1, fastserve.HTTP_STATUS[error.code])


asyncio.run(serve())
"""


def check(program, tmp_path, monkeypatch):
    file = tmp_path / "program.py"
    file.write_text(program)
    monkeypatch.setenv("MYPYPATH", str(ROOT / "python"))
    cache = str(tmp_path / "cache")
    said, problems, status = api.run(
        ["--strict", "--config-file=", f"--cache-dir={cache}", "--follow-imports=silent", str(file)]
    )
    return status, said + problems


def test_a_typed_program_passes(tmp_path, monkeypatch):
    status, said = check(PROGRAM, tmp_path, monkeypatch)
    assert status == 0, said


def test_a_misspelt_option_does_not(tmp_path, monkeypatch):
    program = "import fastserve\nfastserve.Server(max_bach=8)\n"
    status, said = check(program, tmp_path, monkeypatch)
    assert status == 1
    assert 'Unexpected keyword argument "max_bach"' in said
