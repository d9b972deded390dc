"""What each operation of the table of routes does, for whoever reads the document. Pure data.

A test holds that every operation of routes/table.py is here, and every one here is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]
JSON, TEXT, HTML = "application/json", "text/plain", "text/html"
EVENTS = "text/event-stream"
# What any request may be answered with, by HTTP itself or by the limits of the server.
COMMON = {
    400: "The request is wrong; the message says what was expected and what was found.",
    408: "The request did not arrive in time.",
    413: "The body is larger than --max-body.",
    414: "The path is too long.",
    429: "The client, or the model's queue, has as much under way as it may.",
    431: "The head is too large.",
    500: "The server failed; its log says more.",
    503: "Not now: the model is not ready, or its queue is full. Come again after Retry-After.",
}
NOT_FOUND = {404: "There is no such model or version."}
FOREIGN = {403: "A page of another origin, or a client of elsewhere, may not do that."}
ANY_OBJECT: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


@dataclass(frozen=True)
class Operation:
    """`answer`: the schema of a 200; None: it has no body. `errors`: beyond COMMON."""

    tag: str
    summary: str
    answer: Schema | None = None
    media: str = JSON
    body: Schema | None = None
    example: Any = None
    needs_body: bool = False
    errors: dict[int, str] = field(default_factory=dict)
    query: dict[str, Schema] = field(default_factory=dict)


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


_BOOL, _TEXT, _NUMBER = {"type": "boolean"}, {"type": "string"}, {"type": "integer"}
_READY = _object(ready=_BOOL)
_LOAD = {
    "type": "object",
    "properties": {
        "parameters": {
            "type": "object",
            "description": "config: a ModelConfig as text of JSON; file:VERSION/NAME: base64.",
        }
    },
}
_INFERENCE_ERRORS = {
    **NOT_FOUND,
    415: "The body is coded in a way that this server does not read.",
    504: "The deadline passed.",
}
_GENERATED = _object(model_name=_TEXT, model_version=_TEXT)
_EVENTS = _object(events={"type": "array", "items": ANY_OBJECT}, last=_NUMBER)
_SETTING = {"type": ["string", "array", "integer", "null"]}
_TRACE = {
    "type": "object",
    "properties": {
        "trace_level": {"type": ["array", "null"], "items": {"enum": ["OFF", "TIMESTAMPS"]}},
        "trace_rate": _SETTING,
        "trace_count": _SETTING,
        "log_frequency": _SETTING,
    },
}
_LOG = {
    "type": "object",
    "properties": {
        "log_info": _BOOL,
        "log_warning": _BOOL,
        "log_error": _BOOL,
        "log_verbose_level": {"type": "integer", "minimum": 0},
        "log_format": {"enum": ["default", "ISO8601"]},
    },
}
_LOG_EXAMPLE = {"log_info": True, "log_verbose_level": 0}
_TRACE_EXAMPLE = {"trace_level": ["TIMESTAMPS"], "trace_rate": "100", "trace_count": "1000"}


def _of_regions(
    kind: str, summary: str, *, body: Schema, example: Any, shown: Schema
) -> dict[str, Operation]:
    """Of one kind of shared memory."""
    tag, errors = "shared memory", FOREIGN | {404: "There is no such region."}
    return {
        f"{kind}_memory_register": Operation(
            tag, summary, body=body, example=example, needs_body=True, errors=errors
        ),
        f"{kind}_memory_unregister": Operation(
            tag, "Forget a region, or all of them.", errors=FOREIGN
        ),
        f"{kind}_memory_status": Operation(
            tag, "Which regions there are.", {"type": "array", "items": shown}, errors=errors
        ),
    }


OPERATIONS = {
    "index": Operation("server", "What is here.", ANY_OBJECT),
    "server_metadata": Operation(
        "server",
        "Name, version and extensions.",
        _object(name=_TEXT, version=_TEXT, extensions={"type": "array", "items": _TEXT}),
    ),
    "server_live": Operation("server", "Whether it runs.", _object(live=_BOOL)),
    "server_ready": Operation("server", "Whether requests should be sent to it.", _READY),
    "metrics": Operation(
        "server",
        "Metrics in Prometheus's text format.",
        _TEXT,
        TEXT,
        errors={501: "prometheus-client is not installed."},
    ),
    "debug": Operation(
        "server",
        "What is in flight, for clients of this machine.",
        ANY_OBJECT,
        errors=FOREIGN,
    ),
    "openapi": Operation("server", "This document.", ANY_OBJECT),
    "docs": Operation("server", "A page to read it and to try the models.", _TEXT, HTML),
    "log_get": Operation("settings", "What is logged.", _LOG),
    "log_set": Operation(
        "settings",
        "Change what is logged, now.",
        _LOG,
        body=_LOG,
        example=_LOG_EXAMPLE,
        errors=FOREIGN,
    ),
    "trace_get": Operation("settings", "Which inferences are traced.", _TRACE, errors=NOT_FOUND),
    "trace_set": Operation(
        "settings",
        "Change which inferences are traced, now. null: as the server, or as it was started.",
        _TRACE,
        body=_TRACE,
        example=_TRACE_EXAMPLE,
        errors=NOT_FOUND | FOREIGN,
    ),
    "model_metadata": Operation(
        "models", "Its versions, inputs and outputs.", ref("ModelMetadata"), errors=NOT_FOUND
    ),
    "model_config": Operation("models", "Its configuration.", ANY_OBJECT, errors=NOT_FOUND),
    "model_ready": Operation(
        "models", "Whether it takes requests.", _object(name=_TEXT, ready=_BOOL), errors=NOT_FOUND
    ),
    "statistics": Operation(
        "models",
        "What was counted since it was loaded.",
        _object(model_stats={"type": "array", "items": ANY_OBJECT}),
        errors={**NOT_FOUND, 501: "Nothing is counted here."},
    ),
    "infer": Operation(
        "inference",
        "Run the model.",
        ref("InferenceResponse"),
        body=ref("InferenceRequest"),
        needs_body=True,
        errors=_INFERENCE_ERRORS,
    ),
    "generate": Operation(
        "inference",
        "Run the model on a flat object: keys that are inputs have a value or a list of them.",
        _GENERATED,
        body=ANY_OBJECT,
        needs_body=True,
        errors=_INFERENCE_ERRORS,
    ),
    "generate_stream": Operation(
        "inference",
        "The same, with any number of answers as server-sent events, `data: {...}`.",
        _TEXT,
        EVENTS,
        body=ANY_OBJECT,
        needs_body=True,
        errors=_INFERENCE_ERRORS,
    ),
    "repository_index": Operation(
        "repository",
        "Every version and its state.",
        {"type": "array", "items": ANY_OBJECT},
        body={"type": "object", "properties": {"ready": _BOOL}},
        example={"ready": False},
    ),
    "repository_events": Operation(
        "repository",
        "What has changed, as soon as something has.",
        _EVENTS,
        query={
            "after": {"type": "integer", "minimum": 0},
            "timeout": {"type": "number", "minimum": 0, "maximum": 60},
        },
    ),
    "model_load": Operation("repository", "Load a model.", body=_LOAD, errors=NOT_FOUND | FOREIGN),
    "model_unload": Operation(
        "repository", "Unload a model.", body=ANY_OBJECT, example={}, errors=NOT_FOUND | FOREIGN
    ),
    "model_labels": Operation(
        "repository",
        "Give labels to versions, or take them away with null.",
        ANY_OBJECT,
        body=_object(labels=ANY_OBJECT),
        example={"labels": {"stable": 1}},
        needs_body=True,
        errors=NOT_FOUND | FOREIGN,
    ),
    "model_rollback": Operation(
        "repository",
        "Serve the version before, or the one that is named, by default.",
        ANY_OBJECT,
        body={"type": "object", "properties": {"version": _NUMBER}},
        example={},
        errors=NOT_FOUND | FOREIGN,
    ),
    **_of_regions(
        "system",
        "Let requests refer to a part of a POSIX shared-memory object of this machine.",
        body=_object(key=_TEXT, offset=_NUMBER, byte_size=_NUMBER),
        example={"key": "/tensors", "offset": 0, "byte_size": 4096},
        shown=_object(name=_TEXT, key=_TEXT, offset=_NUMBER, byte_size=_NUMBER),
    ),
    **_of_regions(
        "cuda",
        "Let requests refer to memory of a GPU.",
        body=_object(raw_handle=_object(b64=_TEXT), device_id=_NUMBER, byte_size=_NUMBER),
        example={"raw_handle": {"b64": "A" * 86 + "=="}, "device_id": 0, "byte_size": 4096},
        shown=_object(name=_TEXT, device_id=_NUMBER, byte_size=_NUMBER),
    ),
}
