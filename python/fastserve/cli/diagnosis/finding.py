"""Finding: one line of a doctor's report, and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "warn", "fail"]
_RANK: dict[str, int] = {"ok": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True)
class Finding:
    """`fix` says what to do; it is empty where nothing is wrong."""

    level: Level
    topic: str
    text: str
    fix: str = ""

    def line(self) -> str:
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.level:<5} {self.topic:<18} {self.text}{fix}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def ok(topic: str, text: str) -> Finding:
    return Finding("ok", topic, text)


def warn(topic: str, text: str, fix: str) -> Finding:
    return Finding("warn", topic, text, fix)


def fail(topic: str, text: str, fix: str) -> Finding:
    return Finding("fail", topic, text, fix)


def worst(findings: Sequence[Finding]) -> Level:
    levels: list[Level] = [finding.level for finding in findings]
    return max(levels, key=lambda level: _RANK[level], default="ok")
