"""Figures, targets, and the two forms in which they leave the harness: a table and a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.serve.pairing import Spread


@dataclass(frozen=True)
class Figure:
    """One number with the number that it has to meet; `target` None means information only."""

    name: str
    value: float
    unit: str
    target: float | None = None
    direction: Literal[">=", "<="] = ">="
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(
        cls,
        name: str,
        spread: Spread,
        unit: str,
        target: float | None = None,
        direction: Literal[">=", "<="] = ">=",
    ) -> Figure:
        return cls(name, spread.median, unit, target, direction, spread.low, spread.high)

    @property
    def verdict(self) -> str:
        """`pass`, `FAIL`, or nothing where nothing was asked."""
        if self.target is None:
            return ""
        met = self.value >= self.target if self.direction == ">=" else self.value <= self.target
        return "pass" if met else "FAIL"


@dataclass
class Row:
    """What one part of the benchmark found: its figures, and every run behind them."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    foreign_share: float = 0.0
    stolen_share: float = 0.0
    refused: str = ""

    @classmethod
    def refusal(cls, name: str, reason: str) -> Row:
        """A row of which nothing is reported but the reason."""
        return cls(name, refused=reason)


def number(value: float) -> str:
    """Three significant digits, or all digits of a large integer part."""
    if value != 0 and abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}"


def table(rows: Iterable[Row]) -> str:
    """The figures as Markdown, the target beside each."""
    lines = ["| figure | value | min .. max | target | |", "|---|---|---|---|---|"]
    for row in rows:
        if row.refused:
            lines.append(f"| {row.name} | | | | refused: {row.refused} |")
        for figure in row.figures:
            extent = ""
            if figure.low is not None and figure.high is not None:
                extent = f"{number(figure.low)} .. {number(figure.high)}"
            target = ""
            if figure.target is not None:
                target = f"{figure.direction} {number(figure.target)}"
            value = f"{number(figure.value)} {figure.unit}".strip()
            cells = [f"{row.name}: {figure.name}", value, extent, target, figure.verdict]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def missed(rows: Iterable[Row]) -> list[str]:
    """Names of the figures that miss their target, and of the rows without any."""
    names = []
    for row in rows:
        if row.refused:
            names.append(f"{row.name}: refused")
        names += [f"{row.name}: {found.name}" for found in row.figures if found.verdict == "FAIL"]
    return names


def document(
    rows: Sequence[Row],
    *,
    commit: str,
    utc: str,
    machine: dict[str, object],
    installation: dict[str, object],
    settings: dict[str, object],
) -> dict[str, Any]:
    """Everything a result file holds."""
    described = []
    for row in rows:
        entry = asdict(row)
        for figure, plain in zip(row.figures, entry["figures"], strict=True):
            plain["verdict"] = figure.verdict
        described.append(entry)
    return {
        "schema": 1,
        "commit": commit,
        "utc": utc,
        "machine": machine,
        "installation": installation,
        "settings": settings,
        "missed": missed(rows),
        "rows": described,
    }


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
