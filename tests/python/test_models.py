"""The committed ONNX models are what tests/models/make_models.py makes."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="making models needs the test extra's package onnx")

MODELS = Path(__file__).parents[1] / "models"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(MODELS / "make_models.py"))


def test_committed_models_are_what_the_script_makes(script: dict[str, Any]) -> None:
    committed = {
        path.name: path.read_bytes()
        for path in MODELS.iterdir()
        if path.suffix in {".onnx", ".bin"}
    }
    made: dict[str, bytes] = script["make_files"]()
    assert sorted(committed) == sorted(made)
    for name, content in made.items():
        assert committed[name] == content, f"{name}: run make_models.py --out tests/models"


def test_a_model_is_made_the_same_twice(script: dict[str, Any]) -> None:
    names = ["mlp", "identity_fp16", "external_data"]
    assert script["make_files"](names) == script["make_files"](names)


def test_named_models_alone_are_made(script: dict[str, Any]) -> None:
    assert sorted(script["make_files"](["mlp"])) == ["mlp.onnx"]
