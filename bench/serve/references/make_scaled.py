"""Writes the models of the rows about versions.

python make_scaled.py small DIRECTORY FIRST LAST    y = x * version, one file a version
python make_scaled.py large FILE BYTES              as large as it is told to be, of noise
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COLUMNS = 16
LAYER = 2048  # Rows and columns of a large model's matrices.


def _model(nodes: list[onnx.NodeProto], columns: int, weights: list[onnx.TensorProto]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", columns])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def small(version: int) -> bytes:
    factor = numpy_helper.from_array(np.array([version], np.float32), "factor")
    return _model([helper.make_node("Mul", ["x", "factor"], ["y"])], COLUMNS, [factor])


def large(size_bytes: int) -> bytes:
    random = np.random.default_rng(5)
    nodes, weights = [], []
    count = max(1, size_bytes // (4 * LAYER * LAYER))
    for layer in range(count):
        matrix = random.standard_normal((LAYER, LAYER), dtype=np.float32) / np.float32(50)
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        before = "x" if layer == 0 else f"h{layer - 1}"
        after = "y" if layer == count - 1 else f"h{layer}"
        nodes.append(helper.make_node("MatMul", [before, f"w{layer}"], [after]))
    return _model(nodes, LAYER, weights)


if __name__ == "__main__":
    if sys.argv[1] == "large":
        Path(sys.argv[2]).write_bytes(large(int(sys.argv[3])))
    else:
        for number in range(int(sys.argv[3]), int(sys.argv[4]) + 1):
            (Path(sys.argv[2]) / f"{number}.onnx").write_bytes(small(number))
