"""The models that these suites serve: those of tests/models, and a few made here."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.models import make_models

COMMITTED = (
    *(f"identity_{name}" for name in make_models.IDENTITY_TYPES),
    "add_mul",
    "center_rows",
    "external_data",
    "fixed_shape",
    "gather",
    "no_batch",
    "nonzero",
    "optional_input",
    "passthrough",
    "scalar",
)


def scaled(factor: int) -> bytes:
    """y = x * factor, so that an answer says which version gave it."""
    made = make_models.model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [make_models.tensor("x", ["batch", 2])],
        [make_models.tensor("y", ["batch", 2])],
        [numpy_helper.from_array(np.array([factor], np.float32), "factor")],
    )
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def pick() -> bytes:
    """y[i] = x[i, index[i]]: rows are independent, and one bad index fails a whole run."""
    made = make_models.model(
        [helper.make_node("GatherElements", ["x", "index"], ["y"], axis=1)],
        [
            make_models.tensor("x", ["batch", 4]),
            make_models.tensor("index", ["batch", 1], TensorProto.INT64),
        ],
        [make_models.tensor("y", ["batch", 1])],
    )
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def mlp() -> bytes:
    content: bytes = make_models.mlp().SerializeToString(deterministic=True)
    return content
