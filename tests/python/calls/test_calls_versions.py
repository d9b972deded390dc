"""Which version a call reaches, and when one that was retired is gone."""

import numpy as np
import pytest

from fastserve import _core


def served(version):
    spec = [_core.TensorSpec("x", "FP32", [-1])]
    out = [_core.TensorSpec("y", "FP32", [-1])]
    model = _core.open_identity(spec, out)
    return _core.Servable(model, name="m", version=version, inputs=spec, outputs=out)


def ask(serving_map, version):
    return _core.Caller(serving_map, "m", version).infer({"x": np.ones(1, np.float32)})


def test_labels_and_the_default_lead_to_versions():
    serving_map = _core.ServingMap()
    assert serving_map.publish(served(1)) is None
    serving_map.publish(served(2))
    with pytest.raises(_core.CoreError):
        ask(serving_map, "stable")
    serving_map.route("m", {"stable": 1, "gone": 7}, 1)
    for version in ("stable", "", "-1", "1", "2"):
        assert ask(serving_map, version)["y"] == [1]
    with pytest.raises(_core.CoreError):
        ask(serving_map, "gone")
    with pytest.raises(_core.CoreError, match="expected as label"):
        serving_map.route("m", {"7": 1}, None)


def test_what_was_retired_or_replaced_is_gone_when_nobody_needs_it():
    serving_map = _core.ServingMap()
    serving_map.publish(served(1))
    replaced = serving_map.publish(served(1))
    assert replaced is not None
    assert replaced.wait(30)
    kept = served(2)
    serving_map.publish(kept)
    departure = serving_map.retire("m", 2)
    assert not departure.wait(0.01)
    del kept
    assert departure.wait()
    assert departure.is_gone
    serving_map.retire("m", 1)
    assert _core.reap(30)


def test_an_engine_serves_again_under_another_config():
    first = served(1)
    spec = [_core.TensorSpec("x", "FP32", [-1])]
    out = [_core.TensorSpec("y", "FP32", [-1])]
    again = _core.Servable(first.model, name="m", version=1, inputs=spec, outputs=out,
                           instance_count=3)  # fmt: skip
    assert again.stats()["instances"] == 3
