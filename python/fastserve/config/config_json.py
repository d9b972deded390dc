"""Configs as JSON, in Triton's spelling: what GET /v2/models/{m}/config answers, and what may come
with a request to load a model."""

from __future__ import annotations

import json
import re
from typing import Any

from fastserve.config import schema
from fastserve.config.completion import ServedConfig
from fastserve.config.model_config import ModelConfig, Tensor, VersionPolicy, type_name
from fastserve.config.pbtxt import CONFIG_BYTES_MAX, Source, check_enums
from fastserve.errors import invalid

_DEPTH_MAX = 32  # No message of the schema nests as deeply.


def from_json(text: str, shown_as: str) -> ModelConfig:
    """A ModelConfig message as protobuf writes it in JSON.

    Errors: INVALID_ARGUMENT with the field.
    """
    from google.protobuf import json_format

    from fastserve.config.read_config import from_message

    if len(text) > CONFIG_BYTES_MAX:
        raise invalid(f"{shown_as}: expected at most {CONFIG_BYTES_MAX} characters, found more")
    message = schema.model_config_class()()
    try:
        json_format.Parse(text, message, max_recursion_depth=_DEPTH_MAX)
        # What was written, be it with a default, which a message does not tell.
        said = frozenset(_snake_case(key) for key in json.loads(text))
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise invalid(f"{shown_as}: {error}") from None
    source = Source(shown_as, said=said)
    check_enums(message, "", source)
    return from_message(message, source)


def _snake_case(name: str) -> str:
    """protobuf takes maxBatchSize as well."""
    return re.sub(r"[A-Z]", lambda capital: f"_{capital[0].lower()}", name)


def to_json(name: str, platform: str, config: ModelConfig, served: ServedConfig) -> dict[str, Any]:
    """Fields of the file that have no effect stay as they were written."""
    batched = served.max_batch_size > 0
    labels = {
        tensor.name: {"label_filename": tensor.label_filename}
        for tensor in config.outputs
        if tensor.label_filename
    }
    answer: dict[str, Any] = {
        **config.raw,
        "name": name,
        "platform": platform,
        "backend": config.backend or "onnxruntime",
        "version_policy": _version_policy(config.version_policy),
        "max_batch_size": served.max_batch_size,
        "input": [_tensor(tensor, batched, is_input=True) for tensor in served.inputs],
        "output": [
            _tensor(tensor, batched, is_input=False) | labels.get(tensor.name, {})
            for tensor in served.outputs
        ],
        "instance_group": [
            {"name": f"{name}_0", "kind": "KIND_CPU", "count": served.instance_count}
        ],
        "default_model_filename": config.default_model_filename,
        "parameters": {key: {"string_value": value} for key, value in config.parameters.items()},
    }
    if served.joins_requests:
        batching = dict(config.raw.get("dynamic_batching", {}))
        batching["preferred_batch_size"] = list(served.preferred_batch_sizes)
        batching["max_queue_delay_microseconds"] = served.max_queue_delay_ns // 1000
        policy = dict(batching.get("default_queue_policy", {}))
        policy["max_queue_size"] = served.queue_depth
        batching["default_queue_policy"] = policy
        answer["dynamic_batching"] = batching
    return answer


def _version_policy(policy: VersionPolicy) -> dict[str, Any]:
    if policy.specific is not None:
        return {"specific": {"versions": list(policy.specific)}}
    if policy.latest is None:
        return {"all": {}}
    return {"latest": {"num_versions": policy.latest}}


def _tensor(tensor: Tensor, batched: bool, *, is_input: bool) -> dict[str, Any]:
    dims = tensor.shape[1:] if batched else tensor.shape
    answer: dict[str, Any] = {
        "name": tensor.name,
        "data_type": type_name(tensor.datatype),
        "dims": list(dims),
    }
    if is_input:
        answer["optional"] = tensor.optional
    return answer
