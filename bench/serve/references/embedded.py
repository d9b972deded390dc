"""A program that embeds fastserve, and the same work without it; prints one JSON object.

python embedded.py infer MODEL INPUT ROWS SECONDS      seconds a call of Model.infer, one thread
python embedded.py engine MODEL INPUT ROWS SECONDS     the same of onnxruntime.InferenceSession.run
python embedded.py threads MODEL INPUT ROWS SECONDS N  calls a second of N threads, N instances
python embedded.py submit MODEL INPUT ROWS SECONDS     submissions a second, 32 in flight

MODEL is an .onnx file, or a model's directory (identity). Each answer's first element is checked.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = {"input": 64, "INPUT0": 16}
BATCH = 64
IN_FLIGHT = 32


def array_of(name: str, rows: int) -> np.ndarray[Any, Any]:
    """What is sent: (rows, columns), or (columns) for a model without rows."""
    shape = (rows, COLUMNS[name]) if rows else (COLUMNS[name],)
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def seconds_a_call(call: Callable[[], object], seconds: float) -> float:
    for _ in range(500):
        call()
    calls = 0
    began = time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        for _ in range(BATCH):
            call()
        calls += BATCH
    return (now - began) / calls


def engine(path: str, name: str, rows: int, seconds: float) -> dict[str, float]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = array_of(name, rows)
    return {"s": seconds_a_call(lambda: session.run(None, {name: x}), seconds)}


def infer(model: Any, name: str, rows: int, seconds: float) -> dict[str, float]:
    x = array_of(name, rows)
    return {"s": seconds_a_call(lambda: model.infer({name: x}), seconds)}


def threads(model: Any, name: str, rows: int, seconds: float, count: int) -> dict[str, float]:
    x = array_of(name, rows)
    calls = [0] * count
    stop = threading.Event()

    def work(index: int) -> None:
        while not stop.is_set():
            for _ in range(BATCH):
                model.infer({name: x})
            calls[index] += BATCH

    workers = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for worker in workers:
        worker.start()
    time.sleep(0.2)
    before, began = sum(calls), time.perf_counter()
    time.sleep(seconds)
    done, ended = sum(calls), time.perf_counter()
    stop.set()
    for worker in workers:
        worker.join()
    return {"per_s": (done - before) / (ended - began)}


def submit(model: Any, name: str, rows: int, seconds: float) -> dict[str, float]:
    x = array_of(name, rows)

    def burst() -> None:
        for future in [model.submit({name: x}) for _ in range(IN_FLIGHT)]:
            future.result()

    return {"per_s": IN_FLIGHT / seconds_a_call(burst, seconds)}


def main(words: list[str]) -> dict[str, float]:
    mode, path, name, rows, seconds = words[0], words[1], words[2], int(words[3]), float(words[4])
    if mode == "engine":
        return engine(path, name, rows, seconds)
    import fastserve

    with fastserve.Server() as server:
        # An instance each, so that no thread waits for another one's run.
        instances = int(words[5]) if mode == "threads" else 1
        model = server.load(Path(path), instances=instances)
        x = array_of(name, rows)
        (y,) = model.infer({name: x}).values()
        if name == "INPUT0" and not np.array_equal(x, y):
            raise SystemExit("the identity model answered something else")
        if mode == "threads":
            return threads(model, name, rows, seconds, int(words[5]))
        return {"infer": infer, "submit": submit}[mode](model, name, rows, seconds)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
