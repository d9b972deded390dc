"""Speed of light for a model: ONNX Runtime in a loop, one thread, nothing around it.

python bare_engine.py cost MODEL BATCH SECONDS     prints {"rows": n, "cpu_s": s}
python bare_engine.py answers MODEL ROWS_FILE      writes the answers' fp32 bytes to stdout
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

COLUMNS = 64


def session_of(model: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def cost(model: str, batch_rows: int, seconds: float) -> dict[str, float]:
    """CPU of running full batches for a while; the first runs are not counted."""
    session = session_of(model)
    rows = np.random.default_rng(7).standard_normal((batch_rows, COLUMNS)).astype(np.float32)
    for _ in range(200):
        session.run(None, {"input": rows})
    runs = 0
    began = os.times()
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        for _ in range(100):
            session.run(None, {"input": rows})
        runs += 100
    ended = os.times()
    cpu_s = ended.user + ended.system - began.user - began.system
    return {"rows": runs * batch_rows, "cpu_s": cpu_s}


def answers(model: str, rows_file: str) -> bytes:
    rows = np.frombuffer(Path(rows_file).read_bytes(), np.float32).reshape(-1, COLUMNS)
    (output,) = session_of(model).run(None, {"input": rows})
    return np.asarray(output, np.float32).tobytes()


if __name__ == "__main__":
    if sys.argv[1] == "cost":
        print(json.dumps(cost(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
    else:
        sys.stdout.buffer.write(answers(sys.argv[2], sys.argv[3]))
