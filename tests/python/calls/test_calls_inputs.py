"""What may be given for an input, and which of it is copied."""

from __future__ import annotations

import array
import ctypes
import sys

import numpy as np
import pytest

from fastserve import _core

ml_dtypes = pytest.importorskip("ml_dtypes")


def address(value: np.ndarray) -> int:
    return value.__array_interface__["data"][0]


@pytest.fixture
def matrix(serve):
    """x -> y, FP32 [-1, 4], not batching."""
    return serve([("x", "FP32", [-1, 4])]).caller


X = np.arange(8, dtype=np.float32).reshape(2, 4)


# numpy arrays.


def test_a_plain_array_is_not_copied(matrix):
    assert address(matrix.infer(X)["y"]) == address(X)


@pytest.mark.parametrize(
    "x",
    [
        np.asfortranarray(X),
        np.repeat(X, 2, axis=1)[:, ::2],
        X.astype(">f4"),
        np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(2, 4),
    ],
    ids=["fortran", "strided", "big-endian", "misaligned"],
)
def test_other_arrays_are_copied(matrix, x):
    y = matrix.infer(x)["y"]
    assert np.array_equal(y, X)
    assert address(y) != address(x)


def test_subclasses_and_read_only_arrays_are_arrays(matrix):
    class Special(np.ndarray):
        pass

    x = X.copy()
    x.flags.writeable = False
    assert address(matrix.infer(x)["y"]) == address(x)
    y = matrix.infer(X.view(Special))["y"]
    assert type(y) is np.ndarray
    assert address(y) == address(X)


@pytest.mark.parametrize("shape", [(0, 4), (1, 4)])
def test_arrays_without_rows_are_answered(matrix, shape):
    assert matrix.infer(np.zeros(shape, np.float32))["y"].shape == shape


def test_a_scalar_model_takes_scalars(serve):
    caller = serve([("x", "FP64", [])]).caller
    for x in (1.5, np.float64(1.5), np.float32(1.5), np.array(1.5)):
        y = caller.infer({"x": x})["y"]
        assert (y.shape, float(y)) == ((), 1.5)


def test_too_many_dimensions_are_refused(matrix):
    with pytest.raises(_core.CoreError, match="has 13 dimensions, expected at most 12"):
        matrix.infer(np.zeros([1] * 13, np.float32))


# Values without a type of their own.


def test_lists_get_the_models_type(matrix):
    y = matrix.infer([[1, 2, 3, 4]])["y"]
    assert (y.dtype, y.tolist()) == (np.float32, [[1, 2, 3, 4]])


def test_a_list_that_is_no_array_is_numpys_error(matrix):
    with pytest.raises(ValueError, match=r"inhomogeneous|setting an array element"):
        matrix.infer([[1, 2], [3]])
    with pytest.raises(ValueError, match="could not convert string"):
        matrix.infer([["a", "b", "c", "d"]])


class AsArray:
    def __init__(self, value: np.ndarray) -> None:
        self.value = value

    def __array__(self, dtype=None, copy=None):
        return self.value


def test_what_numpy_makes_an_array_of_has_its_own_type(matrix):
    assert np.array_equal(matrix.infer({"x": AsArray(X)})["y"], X)
    with pytest.raises(_core.CoreError, match="has dtype float64"):
        matrix.infer({"x": AsArray(X.astype(np.float64))})


def test_an_exception_of_the_value_is_passed_on(matrix):
    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise ZeroDivisionError("broken")

    with pytest.raises(ZeroDivisionError, match="broken"):
        matrix.infer({"x": Broken()})


# The buffer protocol.


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_raw_bytes_take_the_models_shape(matrix, kind):
    raw = kind(X.tobytes())
    y = matrix.infer(raw)["y"]
    assert y.shape == (2, 4)
    assert np.array_equal(y, X)
    assert address(y) == address(np.frombuffer(raw, np.uint8))


def test_raw_bytes_must_fit(matrix, serve):
    with pytest.raises(_core.CoreError) as caught:
        matrix.infer(b"1234567")
    assert caught.value.args[1] == (
        "input 'x' has 7 bytes, expected a multiple of 16 for [-1,4] of FP32"
    )
    with pytest.raises(_core.CoreError, match="has 7 bytes, expected 8 for"):
        serve([("x", "FP32", [2])]).caller.infer(b"1234567")
    with pytest.raises(_core.CoreError, match=r"leaves several open: np\.frombuffer\(x, np\.float"):
        serve([("x", "FP32", [-1, -1])]).caller.infer(b"12345678")


def test_a_typed_buffer_is_an_array(serve):
    caller = serve([("x", "FP64", [-1])]).caller
    values = array.array("d", [1, 2, 3])
    y = caller.infer(values)["y"]
    assert y.tolist() == [1, 2, 3]
    assert address(y) == values.buffer_info()[0]
    with pytest.raises(_core.CoreError, match="has datatype FP32, expected FP64"):
        caller.infer(array.array("f", [1]))
    with pytest.raises(_core.CoreError, match="has shape"):
        caller.infer(np.zeros((2, 2)).data)


def test_buffers_with_gaps_or_out_of_line_are_copied(serve):
    caller = serve([("x", "INT32", [-1])]).caller
    numbers = memoryview(array.array("i", [1, 2, 3, 4]))
    assert caller.infer(numbers[::2])["y"].tolist() == [1, 3]
    raw = memoryview(b"\0" + np.array([5, 6], np.int32).tobytes())[1:]
    assert caller.infer(raw)["y"].tolist() == [5, 6]


def test_a_bytearray_that_is_an_answer_cannot_be_resized(serve):
    caller = serve([("x", "UINT8", [-1])]).caller
    raw = bytearray(b"abcd")
    answer = caller.infer(raw)
    with pytest.raises(BufferError):
        raw.extend(b"e")
    del answer
    raw.extend(b"e")
    assert bytes(caller.infer(raw)["y"]) == b"abcde"


def test_a_format_that_no_model_has_is_named(serve):
    with pytest.raises(_core.CoreError, match="is a buffer of format"):
        serve([("x", "INT32", [-1])]).caller.infer((ctypes.c_longdouble * 2)())


# DLPack.


class Dlpack:
    """A tensor of another library, which knows DLPack and nothing else."""

    def __init__(self, value: np.ndarray, device: tuple[int, int] = (1, 0), old: bool = False):
        self.value, self.device, self.old = value, device, old

    def __dlpack__(self, **keywords):
        if self.old:
            if keywords:
                raise TypeError("no keywords")
            return self.value.__dlpack__()
        keywords.pop("max_version", None)
        return self.value.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.device


@pytest.mark.parametrize("old", [True, False])
def test_a_dlpack_tensor_is_not_copied(matrix, old):
    x = X.copy()
    before = sys.getrefcount(x)
    y = matrix.infer({"x": Dlpack(x, old=old)})["y"]
    assert address(y) == address(x)
    assert sys.getrefcount(x) == before + 1
    del y
    assert sys.getrefcount(x) == before


def test_a_dlpack_tensor_with_gaps_is_copied(matrix):
    y = matrix.infer({"x": Dlpack(np.asfortranarray(X))})["y"]
    assert np.array_equal(y, X)


def test_a_dlpack_tensor_elsewhere_is_refused(matrix):
    class Elsewhere(Dlpack):
        def __dlpack__(self, **keywords):
            raise BufferError("on a GPU")

    with pytest.raises(BufferError, match="on a GPU"):
        matrix.infer({"x": Elsewhere(X, device=(2, 0))})


def test_a_dlpack_tensor_of_another_type_is_refused(matrix):
    with pytest.raises(_core.CoreError, match="has datatype FP64, expected FP32"):
        matrix.infer({"x": Dlpack(X.astype(np.float64))})


def test_a_dlpack_method_that_gives_none_is_a_type_error(matrix):
    class Liar:
        def __dlpack__(self, **keywords):
            return 3

    with pytest.raises(TypeError, match="gave no DLPack tensor"):
        matrix.infer({"x": Liar()})


# Strings.


@pytest.mark.parametrize(
    "x",
    [
        ["a", "bé", b"\xff"],
        np.array(["a", "bé", b"\xff"], dtype=object),
        ("a", "bé", b"\xff"),
    ],
)
def test_strings_come_back_as_bytes(serve, x):
    y = serve([("x", "BYTES", [-1])]).caller.infer({"x": x})["y"]
    assert y.dtype == object
    assert y.tolist() == [b"a", "bé".encode(), b"\xff"]


def test_fixed_width_strings_lose_their_padding(serve):
    caller = serve([("x", "BYTES", [-1, 2])]).caller
    assert caller.infer(np.array([["a", "bcd"]]))["y"].tolist() == [[b"a", b"bcd"]]
    assert caller.infer(np.array([[b"a", b"bcd"]]))["y"].tolist() == [[b"a", b"bcd"]]


def test_a_single_string_is_a_scalar(serve):
    caller = serve([("x", "BYTES", [])]).caller
    for x in ("ab", b"ab", np.bytes_(b"ab"), np.str_("ab")):
        assert caller.infer({"x": x})["y"].item() == b"ab"


def test_an_element_that_is_no_string_is_named(serve):
    caller = serve([("x", "BYTES", [-1])]).caller
    with pytest.raises(_core.CoreError, match="element 1 is of type int, expected str or bytes"):
        caller.infer(["a", 3])
    with pytest.raises(_core.CoreError, match="element 0 is of type NoneType"):
        caller.infer([None])
    with pytest.raises(UnicodeEncodeError):
        caller.infer(["\ud800"])


def test_strings_of_a_joined_batch_are_told_apart(serve):
    served = serve(
        [("x", "BYTES", [-1, 1])], max_batch_size=4, delay_us=50_000, caller_runs="never"
    )
    futures = [served.caller.submit([["s" * i]]) for i in range(5)]
    assert [f.result()["y"].tolist() for f in futures] == [[[b"s" * i]] for i in range(5)]


# BF16.


def test_bfloat16_goes_in_and_out(serve):
    caller = serve([("x", "BF16", [-1])]).caller
    x = np.array([1.5, -2], ml_dtypes.bfloat16)
    y = caller.infer(x)["y"]
    assert y.dtype == x.dtype
    assert address(y) == address(x)
    assert caller.infer([1.5, -2])["y"].tolist() == [1.5, -2]
    assert caller.infer(x.view(np.uint16))["y"].tolist() == [1.5, -2]
    with pytest.raises(_core.CoreError, match="has dtype float32, expected bfloat16"):
        caller.infer(x.astype(np.float32))
