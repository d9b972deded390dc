"""Writes the MLP 64-256-256-10 of the batching row; the same bytes each time.

python make_mlp.py FILE
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTHS = (64, 256, 256, 10)


def mlp() -> onnx.ModelProto:
    random = np.random.default_rng(11)
    nodes, weights = [], []
    current = "input"
    for layer, (rows, columns) in enumerate(itertools.pairwise(WIDTHS)):
        last = layer == len(WIDTHS) - 2
        matrix = (random.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)
        bias = random.standard_normal(columns).astype(np.float32) * np.float32(0.1)
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        weights.append(numpy_helper.from_array(bias, f"b{layer}"))
        sums = "output" if last else f"s{layer}"
        nodes.append(helper.make_node("Gemm", [current, f"w{layer}", f"b{layer}"], [sums]))
        if not last:
            nodes.append(helper.make_node("Relu", [sums], [f"h{layer}"]))
        current = f"h{layer}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", WIDTHS[0]])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", WIDTHS[-1]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    onnx.save(mlp(), sys.argv[1])
