"""Make the small ONNX models that the tests serve.

    python tests/models/make_models.py --out DIR [NAME ...]

Without names, every model that is committed beside this file is written; `mlp` (330 KB) is made
only when it is named. The files are a function of this script, onnx and numpy alone: weights
are seeded, and nothing of the machine or the time goes in. `tests/python/test_models.py` holds the
committed files to that.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

# IR 8 and operator set 17 are read by every engine release that fastserve supports.
IR_VERSION = 8
OPSET = 17

Dims = Sequence[int | str]

# The types of KServe v2 with ONNX's numbers, as the identity models are called.
IDENTITY_TYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "fp16": TensorProto.FLOAT16,
    "fp32": TensorProto.FLOAT,
    "fp64": TensorProto.DOUBLE,
    "bf16": TensorProto.BFLOAT16,
    "bytes": TensorProto.STRING,
}


def tensor(name: str, dims: Dims, dtype: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, dims)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    initializers: Sequence[TensorProto] = (),
    opset: int = OPSET,
    ir_version: int = IR_VERSION,
) -> ModelProto:
    graph: GraphProto = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers))
    made: ModelProto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir_version,
        producer_name="fastserve",
    )
    return made


def weights(name: str, shape: tuple[int, ...], seed: int) -> TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    made: TensorProto = numpy_helper.from_array(values * np.float32(0.1), name)
    return made


def identity(dtype: int) -> ModelProto:
    """Each element comes back unchanged; any batch, any length."""
    return model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", ["batch", "length"], dtype)],
        [tensor("y", ["batch", "length"], dtype)],
    )


def add_mul() -> ModelProto:
    """sum = a + b and product = a * b, with a batch of any size and four columns."""
    shape: Dims = ["batch", 4]
    return model(
        [
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("Mul", ["a", "b"], ["product"]),
        ],
        [tensor("a", shape), tensor("b", shape)],
        [tensor("sum", shape), tensor("product", shape)],
    )


def fixed_shape() -> ModelProto:
    """y = -x for one shape alone, [2,3]."""
    return model(
        [helper.make_node("Neg", ["x"], ["y"])], [tensor("x", [2, 3])], [tensor("y", [2, 3])]
    )


def no_batch() -> ModelProto:
    """The sum of a vector, which has no dimension to batch along."""
    return model(
        [helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0)],
        [tensor("x", ["length"])],
        [tensor("total", [])],
    )


def scalar() -> ModelProto:
    """y = x + x for a tensor of rank 0."""
    return model([helper.make_node("Add", ["x", "x"], ["y"])], [tensor("x", [])], [tensor("y", [])])


def nonzero() -> ModelProto:
    """Positions of what is not zero: the values decide the output's shape."""
    return model(
        [helper.make_node("NonZero", ["x"], ["positions"])],
        [tensor("x", ["batch", 4])],
        [tensor("positions", [2, "found"], TensorProto.INT64)],
    )


def random_rows() -> ModelProto:
    """As many random numbers as x has: another answer each time."""
    return model(
        [helper.make_node("RandomUniformLike", ["x"], ["y"])],
        [tensor("x", ["batch", 2])],
        [tensor("y", ["batch", 2])],
    )


def optional_input() -> ModelProto:
    """y = x * factor, where a request may leave factor out (it is 3 then)."""
    return model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [tensor("x", ["batch", 2]), tensor("factor", [1])],
        [tensor("y", ["batch", 2])],
        [numpy_helper.from_array(np.array([3], np.float32), "factor")],
    )


def center_rows() -> ModelProto:
    """Subtract the batch's mean: each row's answer depends on the others, so it must not batch."""
    return model(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        [tensor("x", ["batch", 2])],
        [tensor("y", ["batch", 2])],
    )


def passthrough() -> ModelProto:
    """Answer an input and a constant as they are, with no operator between."""
    constant = numpy_helper.from_array(np.arange(4, dtype=np.float32), "constant")
    return model(
        [helper.make_node("Neg", ["x"], ["y"])],
        [tensor("x", ["batch", 2])],
        [tensor("x", ["batch", 2]), tensor("constant", [4]), tensor("y", ["batch", 2])],
        [constant],
    )


def gather() -> ModelProto:
    """Row `index` of x: an index beyond the end fails while the model runs."""
    return model(
        [helper.make_node("Gather", ["x", "index"], ["y"], axis=0)],
        [tensor("x", ["rows", 2]), tensor("index", ["found"], TensorProto.INT64)],
        [tensor("y", ["found", 2])],
    )


def sequence_output() -> ModelProto:
    """A list of tensors, which the protocol cannot carry."""
    return model(
        [helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0)],
        [tensor("x", ["batch", 2])],
        [helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)],
    )


def float8_output() -> ModelProto:
    """Elements of a type that the protocol has no name for."""
    return model(
        [helper.make_node("Cast", ["x"], ["narrow"], to=TensorProto.FLOAT8E4M3FN)],
        [tensor("x", ["batch"])],
        [tensor("narrow", ["batch"], TensorProto.FLOAT8E4M3FN)],
        opset=19,
        ir_version=9,
    )


def rank_13() -> ModelProto:
    """A tensor of more dimensions than fastserve carries."""
    return model(
        [helper.make_node("Neg", ["x"], ["deep"])],
        [tensor("x", [1] * 13)],
        [tensor("deep", [1] * 13)],
    )


def mlp() -> ModelProto:
    """64-256-256-10 with ReLU: the model that benchmarks serve."""
    nodes, parameters, value = [], [], "x"
    sizes = [64, 256, 256, 10]
    for layer, (wide, narrow) in enumerate(itertools.pairwise(sizes)):
        last = layer == len(sizes) - 2
        out = "y" if last else f"sum{layer}"
        parameters += [
            weights(f"weight{layer}", (wide, narrow), seed=2 * layer),
            weights(f"bias{layer}", (narrow,), seed=2 * layer + 1),
        ]
        nodes.append(helper.make_node("Gemm", [value, f"weight{layer}", f"bias{layer}"], [out]))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"hidden{layer}"]))
        value = f"hidden{layer}"
    return model(nodes, [tensor("x", ["batch", 64])], [tensor("y", ["batch", 10])], parameters)


def external_data() -> tuple[ModelProto, bytes]:
    """y = x * weight, whose weight lies in a file beside the model."""
    values = np.arange(8, dtype=np.float32)
    weight = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[8])
    weight.data_location = TensorProto.EXTERNAL
    for key, text in (
        ("location", "external_data.bin"),
        ("offset", "0"),
        ("length", str(values.nbytes)),
    ):
        weight.external_data.add(key=key, value=text)
    made = model(
        [helper.make_node("Mul", ["x", "weight"], ["y"])],
        [tensor("x", ["batch", 8])],
        [tensor("y", ["batch", 8])],
        [weight],
    )
    return made, values.tobytes()


MODELS: dict[str, Callable[[], ModelProto]] = {
    "add_mul": add_mul,
    "center_rows": center_rows,
    "fixed_shape": fixed_shape,
    "float8_output": float8_output,
    "gather": gather,
    "mlp": mlp,
    "no_batch": no_batch,
    "nonzero": nonzero,
    "optional_input": optional_input,
    "passthrough": passthrough,
    "random_rows": random_rows,
    "rank_13": rank_13,
    "scalar": scalar,
    "sequence_output": sequence_output,
}

# Too large to be committed; made where it is needed.
NOT_COMMITTED = frozenset({"mlp"})


def make_files(names: Sequence[str] = ()) -> dict[str, bytes]:
    """The files of the named models, or of all that are committed, by file name."""
    files = {
        f"{name}.onnx": make().SerializeToString(deterministic=True)
        for name, make in MODELS.items()
        if (name in names if names else name not in NOT_COMMITTED)
    }
    for name, dtype in IDENTITY_TYPES.items():
        if not names or f"identity_{name}" in names:
            made = identity(dtype).SerializeToString(deterministic=True)
            files[f"identity_{name}.onnx"] = made
    if not names or "external_data" in names:
        made_model, data = external_data()
        files["external_data.onnx"] = made_model.SerializeToString(deterministic=True)
        files["external_data.bin"] = data
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("names", nargs="*", help="models to make; all but mlp by default")
    arguments = parser.parse_args()
    known = {*MODELS, "external_data", *(f"identity_{name}" for name in IDENTITY_TYPES)}
    if unknown := set(arguments.names) - known:
        parser.error(f"no model {sorted(unknown)}; there are {sorted(known)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for file_name, content in make_files(arguments.names).items():
        (arguments.out / file_name).write_bytes(content)


if __name__ == "__main__":
    main()
