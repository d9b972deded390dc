"""One line for each request, with where its time went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastserve.config.units import format_duration_ns
from fastserve.server import logs

PHASES = ("receive", "queue", "compute", "send")


def write(records: Iterable[Mapping[str, Any]]) -> None:
    """Log the records that Gateway.take_access_records() gave."""
    for record in records:
        logs.info(text(record), {"event": "access", **record})


def text(record: Mapping[str, Any]) -> str:
    """`127.0.0.1:5312 POST /v2/models/digits/infer 200 1.2 ms (queue 0.3 ms, ...) ...`"""
    parts = [
        str(record["peer"]),
        str(record["method"]),
        str(record["path"]),
        str(record["status"]),
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
