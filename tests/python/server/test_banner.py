"""The banner: its curl line must work as it stands."""

from __future__ import annotations

import json
import math
import re
import subprocess
from typing import Any, cast

import pytest

from fastserve.config.model_config import ModelConfig, Tensor
from fastserve.control.loading.loader import Loaded
from fastserve.control.state import State
from fastserve.server import banner
from tests.python.server.routes.test_router import BROKEN, READY, SERVED, model


def loaded(*inputs: Tensor) -> Loaded:
    served = SERVED.__class__(**{**SERVED.__dict__, "inputs": inputs})
    return Loaded("m", 1, "onnxruntime_onnx", ModelConfig(), served, cast(Any, None), 1_000_000)


def typed_into_a_shell(line: str) -> list[str]:
    """The arguments that curl would get."""
    script = f"curl() {{ printf '%s\\0' \"$@\"; }}; {line}"
    printed = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True
    ).stdout
    return printed.split("\0")[:-1]


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("x", "FP32", (-1, 4)),
        Tensor("image", "FP32", (-1, 8, 8)),
        Tensor("it's", "INT64", ()),
        Tensor('a"b\\c é $HOME', "INT64", (1,)),
        Tensor("words", "BYTES", (-1,)),
        Tensor("words", "BYTES", (-1, 100)),
        Tensor("mask", "BOOL", (20,)),
    ],
)
def test_the_line_to_try_is_a_valid_request(tensor):
    line = banner.try_line("http://h:1", loaded(tensor))
    arguments = typed_into_a_shell(line)
    (sent,) = json.loads(arguments[arguments.index("-d") + 1])["inputs"]
    assert "http://h:1/v2/models/m/infer" in arguments
    assert (sent["name"], sent["datatype"]) == (tensor.name, tensor.datatype)
    assert -1 not in sent["shape"]
    assert len(sent["data"]) == math.prod(sent["shape"])


# FP16 cannot travel as JSON: the line asks for the metadata instead.
def test_the_line_to_try_a_half_precision_model_asks_for_its_metadata():
    line = banner.try_line("http://h:1", loaded(Tensor("x", "FP16", (-1,))))
    assert typed_into_a_shell(line) == ["-s", "http://h:1/v2/models/m"]


def test_every_model_is_told_with_what_it_serves_or_why_not():
    models = [
        model("good", {1: READY}),
        model("bad", {1: BROKEN}),
        model("worse", problem="worse/config.pbtxt:3: input[0].dims: expected [8, 8]"),
    ]
    text = banner.text("http://127.0.0.1:8000", "127.0.0.1", models)
    assert re.match(r"fastserve \S+ is serving at http://127\.0\.0\.1:8000, ready in \d", text)
    assert "  good   version 1  onnxruntime_onnx" in text
    assert "batching up to 32 rows, rows are independent" in text
    assert "  bad    version 1 NOT SERVED: model.onnx: no ONNX model" in text
    assert "  worse  NOT SERVED: worse/config.pbtxt:3: input[0].dims" in text
    assert "--host 0.0.0.0" in text


def test_an_open_server_is_warned_of():
    text = banner.text("http://127.0.0.1:8000", "0.0.0.0", [model("good", {1: READY})])
    assert "beware" in text
    assert "--host 0.0.0.0" not in text


def test_colours_change_nothing_but_colours():
    models = [model("good", {1: READY}), model("bad", {1: BROKEN})]
    plain = banner.text("http://h:1", "h", models)
    coloured = banner.text("http://h:1", "h", models, colours=True)
    bare = re.sub(r"\x1b\[\d+m", "", coloured)
    assert coloured != bare
    assert re.sub(r"ready in .*", "", bare) == re.sub(r"ready in .*", "", plain)


def test_the_fields_of_the_json_line_say_the_same():
    told = banner.fields("http://h:1", [model("good", {1: READY}), model("bad", {1: BROKEN})])
    assert told["url"] == "http://h:1"
    states = {item["name"]: item["state"] for item in told["models"]}
    assert states == {"good": State.READY, "bad": State.FAILED}


def test_this_process_is_some_milliseconds_old():
    first = banner.age_ns()
    assert 0 < first <= banner.age_ns()
