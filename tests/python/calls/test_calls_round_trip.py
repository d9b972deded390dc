"""Whatever fits a model comes back as it went in."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from fastserve import _core
from tests import kserve

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
arrays = pytest.importorskip("hypothesis.extra.numpy")

NUMBERS = {name: dtype for name, dtype in kserve.DTYPES.items() if name not in ("BYTES", "BF16")}


@cache
def caller(datatype: str, rank: int) -> Any:
    shape = [-1] * rank
    inputs = [_core.TensorSpec("x", datatype, shape)]
    outputs = [_core.TensorSpec("y", datatype, shape)]
    serving_map = _core.ServingMap()
    serving_map.publish(
        _core.Servable(
            _core.open_identity(inputs, outputs),
            name="m",
            version=1,
            inputs=inputs,
            outputs=outputs,
        )
    )
    return _core.Caller(serving_map, "m")


@st.composite  # type: ignore[untyped-decorator, unused-ignore]
def tensors(draw: Any) -> tuple[str, Any]:
    datatype = draw(st.sampled_from(sorted(NUMBERS)))
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
    dtype = np.dtype(NUMBERS[datatype]).newbyteorder(draw(st.sampled_from("=><")))
    x = draw(arrays.arrays(dtype, shape))
    if x.ndim > 0 and draw(st.booleans()):
        x = x.T if draw(st.booleans()) else x[::-1]
    return datatype, x


@hypothesis.settings(deadline=None, max_examples=300)
@hypothesis.given(tensors())
def test_numbers(tensor):
    datatype, x = tensor
    y = caller(datatype, x.ndim).infer({"x": x})["y"]
    assert y.dtype == NUMBERS[datatype]
    assert y.shape == x.shape
    assert y.tobytes() == np.ascontiguousarray(x).astype(NUMBERS[datatype]).tobytes()


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(st.lists(st.one_of(st.text(st.characters(codec="utf-8")), st.binary())))
def test_strings(texts):
    y = caller("BYTES", 1).infer({"x": np.array(texts, dtype=object)})["y"]
    assert y.tolist() == [t.encode() if isinstance(t, str) else t for t in texts]


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(st.sampled_from(sorted(NUMBERS)), st.integers(0, 9), st.integers(0, 3))
def test_raw_bytes(datatype, elements, left_over):
    raw = bytes(elements * np.dtype(NUMBERS[datatype]).itemsize) + bytes(left_over)
    whole = left_over % np.dtype(NUMBERS[datatype]).itemsize == 0
    if whole or datatype in {"BOOL", "UINT8", "INT8"}:
        assert caller(datatype, 1).infer(raw)["y"].tobytes() == raw
    else:
        with pytest.raises(_core.CoreError, match="expected a multiple of"):
            caller(datatype, 1).infer(raw)
