"""What `fastserve models` shows people: tables and lines of text, made of the server's answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = ("MODEL", "VERSION", "STATE", "LABELS", "REASON")
_GAP = "  "


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """The index: one line a version, a star at the one that serves requests which name none."""
    if not entries:
        return "no models\n"
    rows = [_HEAD, *map(_row, entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    version = str(entry.get("version", "-"))
    return (
        str(entry["name"]),
        f"{version} *" if entry.get("default") else version,
        str(entry.get("state", "not loaded")),
        ", ".join(entry.get("labels", ())) or "-",
        str(entry.get("reason", "")),
    )


def line(event: Mapping[str, Any]) -> str:
    """One thing that has changed, with the time at which it did, here."""
    at = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    version = f" version {event['version']}" if event["version"] is not None else ""
    reason = f": {event['reason']}" if event["reason"] else ""
    return f"{at} {event['name']}{version} {event['state']}{reason}"
