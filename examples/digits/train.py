"""Train the digits model and write it, with its held-out images, beside this file.

    .venv/bin/pip install scikit-learn onnx
    .venv/bin/python examples/digits/train.py

Everything is seeded: on one machine with one set of versions the files come out byte for byte the
same. Other versions of numpy or scikit-learn may move the weights in their last digits.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).resolve().parent
SEED = 0
HELD_OUT_ROWS = 360
# Chosen by five-fold cross-validation on the training rows alone: the held-out rows chose nothing.
HIDDEN_UNITS = 96
INK_MAX = 16  # A pixel counts the inked points of a 4x4 cell.
OPSET = 17
INK_DIGITS = "0123456789abcdefg"  # One character a pixel in heldout.txt.

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


def split() -> tuple[Images, Images, Labels, Labels]:
    """The training and held-out images and labels: (r, 8, 8) and (r,); stratified by digit."""
    data = load_digits()
    parts = train_test_split(
        data.images.astype(np.float32),
        data.target.astype(np.int64),
        test_size=HELD_OUT_ROWS,
        random_state=SEED,
        stratify=data.target,
    )
    return parts[0], parts[1], parts[2], parts[3]


def shifted(images: Images, labels: Labels) -> tuple[Images, Labels]:
    """The images and their copies moved by one pixel to each side: five times as many rows."""
    copies = [images]
    for axis, step in ((1, 1), (1, -1), (2, 1), (2, -1)):
        moved = np.roll(images, step, axis=axis)
        edge = 0 if step == 1 else -1
        if axis == 1:
            moved[:, edge, :] = 0  # What rolled round the border is not ink.
        else:
            moved[:, :, edge] = 0
        copies.append(moved)
    return np.concatenate(copies), np.tile(labels, len(copies))


def fit(images: Images, labels: Labels) -> MLPClassifier:
    """One hidden layer, trained on the images and their shifted copies."""
    rows, targets = shifted(images, labels)
    model = MLPClassifier((HIDDEN_UNITS,), alpha=1e-3, max_iter=120, random_state=SEED)
    with warnings.catch_warnings():
        # A fixed number of epochs was chosen; it stops before the loss is flat, on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(rows.reshape(len(rows), -1) / INK_MAX, targets)


def to_onnx(model: MLPClassifier) -> onnx.ModelProto:
    """The trained layers as an ONNX graph that takes raw pixels, so that no client has to scale."""
    initializers = [numpy_helper.from_array(np.array(1 / INK_MAX, np.float32), "scale")]
    for layer, (weights, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), 1):
        initializers.append(numpy_helper.from_array(weights.astype(np.float32), f"weights_{layer}"))
        initializers.append(numpy_helper.from_array(bias.astype(np.float32), f"bias_{layer}"))
    nodes = [
        helper.make_node("Mul", ["image", "scale"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["pixels"], axis=1),
        helper.make_node("Gemm", ["pixels", "weights_1", "bias_1"], ["hidden_sum"]),
        helper.make_node("Relu", ["hidden_sum"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "weights_2", "bias_2"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    float32, int64 = TensorProto.FLOAT, TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", float32, ["batch", 8, 8])],
        [
            helper.make_tensor_value_info("probabilities", float32, ["batch", 10]),
            helper.make_tensor_value_info("label", int64, ["batch"]),
        ],
        initializers,
    )
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    result.ir_version = 8  # The oldest that opset 17 allows, for the sake of older runtimes.
    onnx.checker.check_model(result, full_check=True)
    return result


def write_held_out(images: Images, labels: Labels) -> None:
    """One line an image: its digit, a space, and 64 pixels in base 17, row by row."""
    lines = ["# digit, then 8x8 pixels row by row; 0 is blank, g is sixteen"]
    for image, label in zip(images, labels, strict=True):
        pixels = "".join(INK_DIGITS[int(ink)] for ink in image.ravel())
        lines.append(f"{label} {pixels}")
    (HERE / "heldout.txt").write_text("\n".join(lines) + "\n")


def write_request(image: Images) -> None:
    """A request body for curl: one image."""
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 8, 8]}
    pixels = ",\n    ".join(json.dumps([int(ink) for ink in row]) for row in image)
    head = json.dumps(tensor)[:-1]
    text = f'{{"inputs": [\n  {head}, "data": [[\n    {pixels}\n  ]]}}\n]}}\n'
    json.loads(text)
    (HERE / "request.json").write_text(text)


def main() -> None:
    train_images, held_images, train_labels, held_labels = split()
    model = fit(train_images, train_labels)
    (HERE / "digits.onnx").write_bytes(to_onnx(model).SerializeToString(deterministic=True))
    write_held_out(held_images, held_labels)
    write_request(held_images[0])
    answers = model.predict(held_images.reshape(len(held_images), -1) / INK_MAX)
    right = int((answers == held_labels).sum())
    print(f"held out: {right} of {len(held_labels)} right ({right / len(held_labels):.2%})")


if __name__ == "__main__":
    main()
