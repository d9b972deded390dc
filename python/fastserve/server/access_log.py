"""One line for each request, with where its time went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastserve.config.units import format_duration_ns
from fastserve.server import logs

PHASES = ("receive", "queue", "stage", "run", "finish", "send")


def write(records: Iterable[Mapping[str, Any]]) -> None:
    """Log the records that Gateway.take_access_records() gave, each with the time it has.

    Whatever the log level: who asked for an access log wants to see it.
    """
    for record in records:
        fields = {"event": "access", **record}
        line = logs.LOGGER.makeRecord(
            logs.LOGGER.name, logs.INFO, "", 0, text(record), (), None, extra={"fields": fields}
        )
        line.created = record["time_ns"] / 1e9
        line.msecs = float(record["time_ns"] // 10**6 % 1000)
        logs.LOGGER.handle(line)


def text(record: Mapping[str, Any]) -> str:
    """`127.0.0.1:5312 POST /v2/models/digits/infer 200 1.2 ms (queue 300 us, ...) ...`

    Of an RPC its code stands behind the status.
    """
    parts = [
        str(record["peer"] or "-"),  # A Unix socket's client has no address.
        str(record["method"]),
        str(record["path"]),
        str(record["status"]),
        *([str(record["grpc_status"])] if record["grpc_status"] else []),
        format_duration_ns(record["total_ns"]),
    ]
    phases = [
        f"{phase} {format_duration_ns(record[f'{phase}_ns'])}"
        for phase in PHASES
        if record[f"{phase}_ns"] > 0
    ]
    if phases:
        parts.append(f"({', '.join(phases)})")
    if record["model"]:
        parts.append(f"{record['model']}/{record['version']} batch={record['batch_rows']}")
    parts.append(f"in={record['bytes_in']} out={record['bytes_out']}")
    if record["id"]:
        parts.append(f"id={record['id']}")
    return " ".join(parts)
