"""The document is valid, and says what there is."""

from dataclasses import replace
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from fastserve.config.model_config import Tensor
from fastserve.control.loading.loader import Loaded
from fastserve.server.openapi import document as module
from fastserve.server.openapi.document import document
from fastserve.server.openapi.operations import OPERATIONS
from fastserve.server.routes import table
from tests.python.server.routes.test_router import READY, SERVED, model

HOSTILE = "</script><b>%2e{model}/..\"'é"


def loaded(name: str, *inputs: Tensor) -> Loaded:
    made = model(name, {1: READY}).loaded[1]
    return replace(made, served=replace(SERVED, inputs=inputs)) if inputs else made


def shown(*models: Loaded) -> dict[str, Any]:
    made = document(models)
    validate(cast(Any, made))
    return made


def request_of(made: dict[str, Any], path: str) -> dict[str, Any]:
    content: dict[str, Any] = made["paths"][path]["post"]["requestBody"]["content"]
    return content["application/json"]


def test_all_routes_are_there_without_any_model():
    made = shown()
    assert set(made["paths"]) == {route.path for route in table.ROUTES}
    for route in table.ROUTES:
        verbs = {verb.upper() for verb in made["paths"][route.path]} - {"PARAMETERS"}
        assert verbs == set(route.operations)


def test_names_of_operations_are_unique():
    made = shown(loaded("a"), loaded("b"))
    names = [
        operation["operationId"]
        for item in made["paths"].values()
        for verb, operation in item.items()
        if verb != "parameters"
    ]
    assert len(names) == len(set(names))


def test_a_model_is_described_by_its_tensors():
    request = request_of(shown(loaded("digits")), "/v2/models/digits/infer")
    example = request["example"]
    assert example == {
        "inputs": [
            {"name": "image", "datatype": "FP32", "shape": [1, 8, 8], "data": [0.0] * 64},
        ]
    }
    validator = Draft202012Validator({**request["schema"], "components": shown()["components"]})
    validator.validate(example)
    for wrong in ("imag", 1):
        inputs = [{**example["inputs"][0], "name": wrong}]
        assert not validator.is_valid({"inputs": inputs})
    assert not validator.is_valid({"inputs": [{**example["inputs"][0], "shape": [1, 8]}]})


def test_several_inputs_strings_scalars_and_what_json_cannot_hold():
    made = shown(
        loaded("many", Tensor("text", "BYTES", (-1,)), Tensor("on", "BOOL", ()),
               Tensor("more", "INT64", (2,), optional=True)),
        loaded("half", Tensor("x", "FP16", (4,))),
        loaded("large", Tensor("x", "FP32", (3, 224, 224))),
    )  # fmt: skip
    assert request_of(made, "/v2/models/many/infer")["example"]["inputs"] == [
        {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["text"]},
        {"name": "on", "datatype": "BOOL", "shape": [], "data": [False]},
    ]
    for name in ("half", "large"):
        assert "example" not in request_of(made, f"/v2/models/{name}/infer")


def test_whatever_a_model_is_called():
    made = shown(loaded(HOSTILE))
    (path,) = set(made["paths"]) - {route.path for route in table.ROUTES}
    assert path == ("/v2/models/%3C%2Fscript%3E%3Cb%3E%252e%7Bmodel%7D%2F..%22%27%C3%A9/infer")


def test_what_a_server_does_not_have_is_not_shown():
    made = document([], offers=set(OPERATIONS) - {"debug", "log_set"})
    validate(cast(Any, made))
    assert "/debug" not in made["paths"]
    assert set(made["paths"]["/v2/logging"]) == {"get"}


def test_of_many_models_the_first_are_shown(monkeypatch):
    monkeypatch.setattr(module, "MODELS_MAX", 3)
    made = document([loaded(f"m{number}") for number in range(9)])
    assert len(made["paths"]) == len(table.ROUTES) + 3


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_says_what_it_is(name):
    assert OPERATIONS[name].summary.endswith(".")
