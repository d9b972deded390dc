"""What the open-loop client wrote down of each answer, and what must not be in it. Pure, but for
reading the file."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """`server_us`: what it says itself that it took, from its last byte to its answer, in whole
    microseconds a phase. `latency_ns` is -1 before the client measures."""

    sent_ns: int
    latency_ns: int
    server_us: int
    status: int
    version: int
    value: float


def read(path: Path) -> list[Answer]:
    answers = []
    for line in path.read_text().splitlines():
        sent, latency, server, status, version, value = line.split()
        answers.append(
            Answer(int(sent), int(latency), int(server), int(status), int(version), float(value))
        )
    return answers


def measured(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.latency_ns >= 0]


@dataclass(frozen=True)
class Retirement:
    """From this moment on no version below `oldest` may answer what is sent."""

    at_ns: int
    oldest: int


def failed(answers: Sequence[Answer]) -> int:
    return sum(answer.status != 200 for answer in answers)


def wrong(answers: Sequence[Answer], retirements: Sequence[Retirement]) -> int:
    """Answers whose number is not their version's, or of a version that was retired before they
    were sent. `retirements` are in order of time."""
    times = [retirement.at_ns for retirement in retirements]
    count = 0
    for answer in answers:
        if answer.status != 200:
            continue
        before = bisect.bisect_right(times, answer.sent_ns)
        oldest = retirements[before - 1].oldest if before else 0
        count += answer.value != answer.version or answer.version < oldest
    return count


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank. ValueError when there are none."""
    if not values:
        raise ValueError("no values to take a percentile of")
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]
