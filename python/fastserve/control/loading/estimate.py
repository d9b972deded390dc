"""What a version will take, before anything of it is opened; and whether that can be at all."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from fastserve.config.units import approximate_bytes
from fastserve.control.loading.control_groups import available_bytes, available_threads
from fastserve.control.loading.reading import unreadable
from fastserve.errors import Error, invalid


@dataclass(frozen=True)
class Estimate:
    """`bytes`: of the version's files; an engine rarely takes less memory than that, and often
    more. `threads`: of the instances and of the engine."""

    bytes: int
    threads: int

    def __str__(self) -> str:
        many = "s" if self.threads != 1 else ""
        return f"{approximate_bytes(self.bytes)} of files, {self.threads} thread{many}"


def count_threads(instances: int, intra_op: int, inter_op: int) -> int:
    """One for each instance, and the engine's pools, which all instances share. Whoever runs is one
    of a pool's; 0 is as many as there are processors."""
    processors = os.cpu_count() or 1
    return instances + sum((count or processors) - 1 for count in (intra_op, inter_op))


def check_readable(path: Path, shown_as: str) -> None:
    """Errors: an empty file, and one that may not be read, by its name."""
    try:
        with path.open("rb", buffering=0) as file:
            if not file.read(1):
                raise invalid(f"{shown_as} is empty")
    except OSError as error:
        raise Error(unreadable(path, error).code, f"{shown_as}: {error.strerror}") from None


def files_beside(path: Path) -> list[Path]:
    """A model's file and what lies in its folder: external data, if it has any, is among that.
    Other models are not, and neither is what may not be looked at."""
    files = [path]
    with contextlib.suppress(OSError):
        files.extend(
            child
            for child in sorted(path.parent.rglob("*"))
            if child != path and child.suffix != path.suffix and child.is_file()
        )
    return files


def refuse_the_impossible(estimate: Estimate, shown_as: str) -> None:
    """Errors: RESOURCE_EXHAUSTED for what cannot be had now."""
    memory = available_bytes()
    if memory is not None and estimate.bytes > memory:
        raise Error(
            "RESOURCE_EXHAUSTED",
            f"{shown_as}: its files alone are {approximate_bytes(estimate.bytes)}, and"
            f" {approximate_bytes(memory)} of memory are available",
        )
    threads = available_threads()
    if threads is not None and estimate.threads > threads:
        raise Error(
            "RESOURCE_EXHAUSTED",
            f"{shown_as}: it asks for {estimate.threads} threads, and {threads} may still be"
            " started: fewer instances, or a smaller intra_op_thread_count",
        )
