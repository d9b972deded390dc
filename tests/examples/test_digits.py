"""The committed digits model does what its card says."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
# As stated in examples/digits/README.md.
STATED_RIGHT, STATED_ROWS = 355, 360


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(DIGITS / "digits.onnx", providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def held_out() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images (360, 8, 8) and labels (360,) from the committed text file."""
    lines = [
        line.split()
        for line in (DIGITS / "heldout.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    images = [[int(ink, 17) for ink in pixels] for _, pixels in lines]
    labels = [int(label) for label, _ in lines]
    return np.array(images, np.float32).reshape(-1, 8, 8), np.array(labels, np.int64)


# The card's figure is read from the same constants that the model is held to.
def test_accuracy_on_the_held_out_images_is_the_stated_one(session, held_out):
    images, labels = held_out
    (answers,) = session.run(["label"], {"image": images})
    assert len(labels) == STATED_ROWS
    assert int((answers == labels).sum()) == STATED_RIGHT
    assert f"{STATED_RIGHT} of {STATED_ROWS}" in (DIGITS / "README.md").read_text()


# The server may put rows of strangers into one batch.
def test_a_row_has_the_same_answer_alone_and_in_a_batch(session, held_out):
    images = held_out[0][:64]
    (together,) = session.run(["probabilities"], {"image": images})
    alone = [session.run(["probabilities"], {"image": images[i : i + 1]})[0][0] for i in range(64)]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


def test_the_signature_names_a_dynamic_batch(session):
    signature = {put.name: (put.type, put.shape) for put in session.get_inputs()}
    signature |= {put.name: (put.type, put.shape) for put in session.get_outputs()}
    assert signature == {
        "image": ("tensor(float)", ["batch", 8, 8]),
        "probabilities": ("tensor(float)", ["batch", 10]),
        "label": ("tensor(int64)", ["batch"]),
    }


def test_probabilities_of_a_row_sum_to_one(session, held_out):
    (answers,) = session.run(["probabilities"], {"image": held_out[0]})
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_every_class_has_a_label():
    assert (DIGITS / "labels.txt").read_text().split() == [str(digit) for digit in range(10)]


# heldout.txt is data, not a choice: scikit-learn's own rows, none of which trained the model.
def test_held_out_images_are_those_of_the_seeded_split(held_out):
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    _, images, _, labels = train_test_split(
        data.images, data.target, test_size=360, random_state=0, stratify=data.target
    )
    np.testing.assert_array_equal(held_out[0], images)
    np.testing.assert_array_equal(held_out[1], labels)
