"""What the log says last: whether all that was in flight was answered."""

from __future__ import annotations

from fastserve.config.units import format_duration_ns
from fastserve.server import logs
from fastserve.server.front_end import CutOff


def say_drained(cut_off: CutOff, took_s: float) -> None:
    took = format_duration_ns(round(took_s * 1e9))
    if cut_off != CutOff():
        logs.warning(
            f"drained for {took}, until the time was up; cut off:"
            f" {_count(cut_off.requests, 'request')},"
            f" {_count(cut_off.connections, 'connection')}"
        )
    else:
        logs.info(f"drained in {took}; nothing was cut off")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
