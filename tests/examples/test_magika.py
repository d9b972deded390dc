"""The Magika example gives the answers of the package that the model comes from."""

import numpy as np
import onnxruntime
import pytest

magika = pytest.importorskip("magika", reason="the extra `examples` is not installed")


@pytest.fixture
def example(load_example):
    return load_example("magika/run.py")


# The features decide everything: the same session, fed by the example, against the package's class.
def test_features_lead_to_the_answers_of_the_package(example):
    reference = magika.Magika()
    model = example.Magika()
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    contents = [content for _, content, _ in example.known_files()]
    contents += [b"   int main() { return 0; }  \n" * 3, bytes(range(256)) * 40]
    for content in contents:
        row = np.array([model.features(content)], np.int32)  # Alone: a batch may move 3e-4.
        ((scores,),) = session.run(None, {"bytes": row})
        expected = reference.identify_bytes(content)
        assert model.labels[int(scores.argmax())] == expected.dl.label
        assert float(scores.max()) == pytest.approx(expected.score, abs=1e-6)


def test_run_tells_every_known_type_right(run_example):
    result = run_example("magika/run.py")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "wrong" not in result.stdout


def test_run_says_which_file_it_cannot_read(run_example):
    result = run_example("magika/run.py", "/nowhere/to/be/found")
    assert result.returncode == 2
    assert "/nowhere/to/be/found" in result.stderr
