"""What Triton's trace file says of one inference, made of its access record. Pure.

    {"model_name": "digits", "model_version": 1, "id": 7, "request_id": "a"}
    {"id": 7, "timestamps": [{"name": "HTTP_RECV_START", "ns": 1764250000000000000}, ...]}

Nanoseconds since 1970, of one clock reading a record: within a trace they are exact, between traces
as good as the system's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# What a record must have; the rest of it is none of a trace's business.
NUMBERS = (
    "time_ns",
    "total_ns",
    "receive_ns",
    "queue_ns",
    "stage_ns",
    "run_ns",
    "finish_ns",
    "send_ns",
    "batch_rows",
)
TEXTS = ("model", "version", "id", "path")
_GRPC = "/inference.GRPCInferenceService/"


def check(record: Any) -> Mapping[str, Any]:
    """A record that another process sent. Errors: ValueError."""
    is_whole = (
        isinstance(record, dict)
        and all(type(record.get(key)) is int for key in NUMBERS)
        and all(isinstance(record.get(key), str) for key in TEXTS)
        and record["version"].isdigit()
    )
    if not is_whole:
        raise ValueError("no trace record")
    return {key: record[key] for key in (*NUMBERS, *TEXTS)}


def entries(number: int, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The two objects of a trace. `number` tells it from the others of the file."""
    yield {
        "model_name": record["model"],
        "model_version": int(record["version"]),
        "id": number,
        **({"request_id": record["id"]} if record["id"] else {}),
    }
    yield {
        "id": number,
        "timestamps": [{"name": name, "ns": ns} for name, ns in _timestamps(record)],
    }


def _timestamps(record: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """In order. One that never ran has nothing between its arrival and its answer."""
    if record["path"].startswith(_GRPC):
        receive, send = "GRPC_WAITREAD", "GRPC_SEND"
    else:
        receive, send = "HTTP_RECV", "HTTP_SEND"
    sent = record["time_ns"]
    began = sent - record["total_ns"]
    received = began + record["receive_ns"]
    yield f"{receive}_START", began
    yield f"{receive}_END", received
    yield "REQUEST_START", received
    ended = sent
    if record["batch_rows"] > 0:
        # From the end, where the phases touch each other.
        ended = sent - record["send_ns"]
        computed = ended - record["finish_ns"]
        staged = computed - record["run_ns"]
        started = staged - record["stage_ns"]
        yield "QUEUE_START", started - record["queue_ns"]
        yield "COMPUTE_START", started
        yield "COMPUTE_INPUT_END", staged
        yield "COMPUTE_OUTPUT_START", computed
        yield "COMPUTE_END", ended
    yield "REQUEST_END", ended
    yield f"{send}_START", ended
    yield f"{send}_END", sent
