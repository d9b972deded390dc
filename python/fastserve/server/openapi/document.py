"""The OpenAPI document of a server: every route, and each model with its tensors.

    document([("digits", loaded), ...])    a dict, ready to become JSON

Pure: it reads what does not change, and so runs on any thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from fastserve import __version__
from fastserve.control.loading.loader import Loaded
from fastserve.server.openapi import tensors
from fastserve.server.openapi.operations import COMMON, JSON, OPERATIONS, Operation, ref
from fastserve.server.routes import table

OCTETS = "application/octet-stream"
Schema = dict[str, Any]
# Of models that are shown with paths of their own; the rest are asked by the general ones.
MODELS_MAX = 1000
_ABOUT = (
    "The KServe v2 protocol (Open Inference Protocol) with Triton's extensions. Tensors travel as"
    " JSON or, behind it, as bytes; the same over gRPC on the same port."
)
_PARAMETERS = {
    "model": "The model's name, percent-encoded.",
    "version": "A version's number, or a label.",
    "region": "The name of a region of shared memory, percent-encoded.",
}
_HEADERS = {
    "Inference-Header-Content-Length": (
        {"type": "integer", "minimum": 0},
        "Bytes of JSON at the start of the body; tensors follow as bytes.",
    ),
    "Inference-Timeout-Ms": (
        {"type": "integer", "minimum": 1, "maximum": 86_400_000},
        "The request's deadline, from its last byte.",
    ),
    "Fastserve-Timing": ({"type": "string"}, "1: the answer says where time went (Server-Timing)."),
}


def document(models: Iterable[Loaded], *, offers: Iterable[str] = OPERATIONS) -> Schema:
    """`models`: the versions that are found without naming one. `offers`: the operations that this
    server has."""
    offered = set(offers)
    paths: Schema = {}
    shown = list(models)[:MODELS_MAX]
    for loaded in shown:
        path = f"/v2/models/{quote(loaded.name, safe='')}/infer"
        paths[path] = {"post": _inference_of(loaded)}
    for route in table.ROUTES:
        made = dict(_operations(route, offered))
        if made:
            paths[route.path] = {**_path_parameters(route, shown), **made}
    return {
        "openapi": "3.1.0",
        "info": {"title": "fastserve", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": _SCHEMAS, "responses": _responses(), "parameters": _headers()},
    }


def _operations(route: table.Route, offered: set[str]) -> Iterator[tuple[str, Schema]]:
    for verb, name in route.operations.items():
        if name not in offered:
            continue
        where = "" if table.MODEL not in route.path else "_of_model"
        where = "_of_version" if table.VERSION in route.path else where
        where = "_of_region" if table.REGION in route.path else where
        yield verb.lower(), _described(OPERATIONS[name], f"{name}{where}")


def _path_parameters(route: table.Route, models: list[Loaded]) -> Schema:
    examples: dict[str, str] = {}
    # Not of what changes a model.
    if models and route.path.startswith("/v2/models/"):
        examples = {"model": models[0].name, "version": str(models[0].version)}
    given = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": about,
            "schema": {"type": "string", "minLength": 1},
            **({"example": examples[name]} if name in examples else {}),
        }
        for name, about in _PARAMETERS.items()
        if f"{{{name}}}" in route.path
    ]
    return {"parameters": given} if given else {}


def _described(operation: Operation, name: str) -> Schema:
    answer: Schema = {"description": "Done."}
    if operation.answer is not None:
        answer["content"] = {operation.media: {"schema": operation.answer}}
    described: Schema = {
        "operationId": name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": {"200": answer, **_errors(operation)},
    }
    parameters: list[Schema] = [
        {"name": query, "in": "query", "schema": schema}
        for query, schema in operation.query.items()
    ]
    if operation.body is not None:
        content: Schema = {"schema": operation.body}
        if operation.example is not None:
            content["example"] = operation.example
        described["requestBody"] = {"required": operation.needs_body, "content": {JSON: content}}
    if operation is OPERATIONS["infer"]:
        _with_binary(described)
        parameters += [{"$ref": f"#/components/parameters/{header}"} for header in _HEADERS]
    if parameters:
        described["parameters"] = parameters
    return described


def _with_binary(described: Schema) -> None:
    """Tensors as bytes, in and out."""
    described["requestBody"]["content"][OCTETS] = {}
    answer = described["responses"]["200"]
    answer["content"][OCTETS] = {}
    answer["headers"] = {
        name: {"schema": schema, "description": about}
        for name, schema, about in (
            ("Inference-Header-Content-Length", {"type": "integer"}, "With tensors as bytes."),
            ("Server-Timing", {"type": "string"}, "If Fastserve-Timing asked for it."),
        )
    }


def _inference_of(loaded: Loaded) -> Schema:
    described = _described(OPERATIONS["infer"], f"infer.{quote(loaded.name, safe='')}")
    described["summary"] = f"Run {loaded.name}."
    content: Schema = {"schema": tensors.request_schema(loaded.served)}
    described["requestBody"]["content"][JSON] = content
    if "examples" in content["schema"]:
        content["example"] = content["schema"].pop("examples")[0]
    answer = tensors.response_schema(loaded.name, loaded.served)
    described["responses"]["200"]["content"][JSON] = {"schema": answer}
    return described


def _errors(operation: Operation) -> Schema:
    return {
        str(status): {"$ref": f"#/components/responses/Error{status}"}
        for status in sorted({*COMMON, *operation.errors})
    }


def _responses() -> Schema:
    """Of all errors; where one status means several things, it says the first."""
    meanings = dict(COMMON)
    for operation in OPERATIONS.values():
        for status, meaning in operation.errors.items():
            meanings.setdefault(status, meaning)
    return {
        f"Error{status}": {
            "description": meaning,
            "content": {JSON: {"schema": ref("Error")}},
        }
        for status, meaning in sorted(meanings.items())
    }


def _headers() -> Schema:
    return {
        name: {"name": name, "in": "header", "schema": schema, "description": about}
        for name, (schema, about) in _HEADERS.items()
    }


_SHAPE = {"type": "array", "items": {"type": "integer"}}
_TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string"},
        "shape": _SHAPE,
        "parameters": ref("Parameters"),
        "data": {"type": "array"},
    },
}
_TENSORS = {"type": "array", "items": _TENSOR}
_SCHEMAS: Schema = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    "Parameters": {
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    },
    "Tensor": _TENSOR,
    "InferenceRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": ref("Parameters"),
            "inputs": _TENSORS,
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        },
    },
    "InferenceResponse": {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "id": {"type": "string"},
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "outputs": _TENSORS,
        },
    },
    "ModelMetadata": {
        "type": "object",
        "required": ["name", "versions", "platform", "inputs", "outputs"],
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string"},
            "inputs": _TENSORS,
            "outputs": _TENSORS,
        },
    },
}
