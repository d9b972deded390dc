"""Models of every shape: unbatched, scalars, optional inputs, files beside them, no elements."""

import numpy as np
import pytest
import tritonclient.http

from tests import kserve


def ask(server, model, *, binary=False, **arrays):
    """All outputs, with inputs and outputs both as JSON or both as binary."""
    if binary:
        tensors = [kserve.binary_tensor(name, array) for name, array in arrays.items()]
        body, headers = kserve.binary_body(tensors, parameters={"binary_data_output": True})
        return kserve.result(server.post(model, body, headers)).outputs
    inputs = [kserve.tensor(name, array) for name, array in arrays.items()]
    return kserve.result(server.post(model, {"inputs": inputs})).outputs


FORMS = pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
X24 = np.array([[1, 0, 0, 2], [0, 3, 0, 0]], np.float32)


@FORMS
@pytest.mark.parametrize("rows", [1, 3, 32])
def test_a_batch_of_rows(server, binary, rows):
    a = np.arange(4 * rows, dtype=np.float32).reshape(rows, 4)
    answer = ask(server, "add_mul", binary=binary, a=a, b=a + 1)
    np.testing.assert_array_equal(answer["sum"], 2 * a + 1)
    np.testing.assert_array_equal(answer["product"], a * (a + 1))


def test_more_rows_than_the_largest_batch_are_refused(server):
    rows = np.zeros((9, 4), np.float32)
    inputs = [kserve.tensor("a", rows), kserve.tensor("b", rows)]
    answer = server.post("small_batch", {"inputs": inputs})
    assert answer.status == 400, answer
    assert "8" in answer.error
    assert "9" in answer.error
    assert ask(server, "small_batch", a=rows[:8], b=rows[:8])["sum"].shape == (8, 4)


@FORMS
def test_rows_that_depend_on_each_other_stay_together(server, binary):
    x = np.array([[1, 10], [3, 30], [8, 20]], np.float32)
    np.testing.assert_array_equal(ask(server, "center_rows", binary=binary, x=x)["y"], x - [4, 20])


@FORMS
def test_a_model_without_a_batch_dimension(server, binary):
    answer = ask(server, "no_batch", binary=binary, x=np.array([1, 2, 3.5], np.float32))
    assert answer["total"].shape == ()
    assert answer["total"] == 6.5


@FORMS
def test_a_model_of_one_shape(server, binary):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(ask(server, "fixed_shape", binary=binary, x=x)["y"], -x)


@FORMS
def test_a_scalar_in_and_out(server, binary):
    answer = ask(server, "scalar", binary=binary, x=np.float32(21))
    assert answer["y"].shape == ()
    assert answer["y"] == 42


def test_a_scalars_data_may_be_bare(server):
    tensor = {"name": "x", "shape": [], "datatype": "FP32", "data": 21}
    assert kserve.result(server.post("scalar", {"inputs": [tensor]})).outputs["y"] == 42


def test_a_scalar_through_tritonclient(client):
    tensor = tritonclient.http.InferInput("x", [], "FP32")
    tensor.set_data_from_numpy(np.array(21, np.float32))
    answer = client.infer("scalar", [tensor])
    assert answer.get_output("y")["shape"] == []
    assert answer.as_numpy("y").reshape(()) == 42


@FORMS
@pytest.mark.parametrize("x", [X24, 0 * X24, np.ones((3, 4), np.float32)])
def test_the_values_decide_the_outputs_shape(server, binary, x):
    answer = ask(server, "nonzero", binary=binary, x=x)
    np.testing.assert_array_equal(answer["positions"], np.array(np.nonzero(x)))
    assert answer["positions"].dtype == np.int64


@FORMS
def test_an_optional_input_may_be_absent(server, binary):
    x = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(ask(server, "optional_input", binary=binary, x=x)["y"], 3 * x)
    factor = np.array([5], np.float32)
    answer = ask(server, "optional_input", binary=binary, x=x, factor=factor)
    np.testing.assert_array_equal(answer["y"], 5 * x)
    np.testing.assert_array_equal(ask(server, "optional_input", binary=binary, x=x)["y"], 3 * x)


def test_a_required_input_may_not_be_absent(server):
    answer = server.post(
        "optional_input", {"inputs": [kserve.tensor("factor", np.array([5], np.float32))]}
    )
    assert answer.status == 400, answer
    assert "'x'" in answer.error


@FORMS
def test_weights_may_lie_in_a_file_beside_the_model(server, binary):
    x = np.ones((2, 8), np.float32)
    answer = ask(server, "external_data", binary=binary, x=x)
    np.testing.assert_array_equal(answer["y"], x * np.arange(8))


@FORMS
def test_inputs_of_different_lengths(server, binary):
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    index = np.array([4, 0, 0], np.int64)
    answer = ask(server, "gather", binary=binary, x=x, index=index)
    np.testing.assert_array_equal(answer["y"], x[index])


@FORMS
def test_outputs_that_are_inputs_or_constants(server, binary):
    x = np.array([[1, 2]], np.float32)
    answer = ask(server, "passthrough", binary=binary, x=x)
    np.testing.assert_array_equal(answer["x"], x)
    np.testing.assert_array_equal(answer["y"], -x)
    np.testing.assert_array_equal(answer["constant"], np.arange(4))


@FORMS
@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BOOL", "BYTES"])
@pytest.mark.parametrize("shape", [(1, 0), (3, 0), (0, 3)])
def test_tensors_without_elements_come_back(server, binary, datatype, shape):
    x = np.empty(shape, kserve.DTYPES[datatype])
    answer = ask(server, f"identity_{datatype.lower()}", binary=binary, x=x)
    assert answer["y"].shape == shape


def test_no_elements_may_be_written_nested(server):
    tensor = {"name": "x", "shape": [2, 0], "datatype": "FP32", "data": [[], []]}
    answer = kserve.result(server.post("identity_fp32", {"inputs": [tensor]}))
    assert answer.outputs["y"].shape == (2, 0)


def test_a_vector_without_elements_sums_to_nothing(server):
    assert ask(server, "no_batch", x=np.empty(0, np.float32))["total"] == 0


@FORMS
def test_a_megabyte_comes_back(server, binary):
    x = np.random.default_rng(0).random((1, 1 << 18), np.float32)
    answer = ask(server, "identity_fp32", binary=binary, x=x)
    np.testing.assert_array_equal(answer["y"], x)
