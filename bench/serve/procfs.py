"""CPU and memory of process trees, read from /proc.

The parsers are pure; the functions below the rule read the live files. Times are what the kernel
reports: clock ticks (10 ms on most machines), so a run must burn a second or more of CPU before a
tick stops mattering.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ProcessStat:
    """The fields of /proc/PID/stat that the harness uses."""

    pid: int
    parent_pid: int
    own_ticks: int
    reaped_ticks: int
    threads: int


@dataclass(frozen=True)
class MachineStat:
    """The first line of /proc/stat, in ticks summed over all cores.

    Interrupt time is left out of `busy_ticks`: the network's share of it belongs to nobody, and
    would make our own traffic look like a stranger's.
    """

    busy_ticks: int
    steal_ticks: int


def parse_process_stat(text: str) -> ProcessStat:
    """Reads one /proc/PID/stat; the command's name may contain spaces and parentheses."""
    pid, _, rest = text.partition(" (")
    fields = rest[rest.rindex(")") + 2 :].split()
    return ProcessStat(
        pid=int(pid),
        parent_pid=int(fields[1]),
        own_ticks=int(fields[11]) + int(fields[12]),
        reaped_ticks=int(fields[13]) + int(fields[14]),
        threads=int(fields[17]),
    )


def parse_machine_stat(text: str) -> MachineStat:
    """Reads /proc/stat's aggregate line."""
    fields = text.splitlines()[0].split()
    if fields[0] != "cpu":
        raise ValueError(f"/proc/stat begins with {fields[0]!r}, expected 'cpu'")
    user, nice, system = (int(value) for value in fields[1:4])
    steal = int(fields[8]) if len(fields) > 8 else 0
    return MachineStat(busy_ticks=user + nice + system, steal_ticks=steal)


def parse_pss_bytes(text: str) -> int:
    """Reads the proportional set size out of /proc/PID/smaps_rollup."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no Pss line")


def tree_of(root_pid: int, processes: Iterable[ProcessStat]) -> list[ProcessStat]:
    """The process itself and all its living descendants."""
    by_pid: Mapping[int, ProcessStat] = {process.pid: process for process in processes}
    children: dict[int, list[int]] = {}
    for process in by_pid.values():
        children.setdefault(process.parent_pid, []).append(process.pid)
    found: list[ProcessStat] = []
    waiting = [root_pid]
    while waiting:
        pid = waiting.pop()
        if pid in by_pid:
            found.append(by_pid[pid])
            waiting.extend(children.get(pid, ()))
    return found


def ticks_of(tree: Iterable[ProcessStat]) -> int:
    """CPU of a tree, the children that it has already buried included."""
    return sum(process.own_ticks + process.reaped_ticks for process in tree)


# --- the live files ----------------------------------------------------------------------------


def all_processes() -> list[ProcessStat]:
    """Every process that can be read; those that vanish meanwhile are left out."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found.append(parse_process_stat(Path("/proc", entry, "stat").read_text()))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def tree_ticks(root_pid: int) -> int:
    """CPU ticks of a live tree; ProcessLookupError when its root is gone."""
    tree = tree_of(root_pid, all_processes())
    if not tree:
        raise ProcessLookupError(f"process {root_pid} is gone")
    return ticks_of(tree)


def tree_pss_bytes(root_pid: int) -> int:
    """Proportional set size of a live tree."""
    tree = tree_of(root_pid, all_processes())
    if not tree:
        raise ProcessLookupError(f"process {root_pid} is gone")
    return sum(
        parse_pss_bytes(Path(f"/proc/{process.pid}/smaps_rollup").read_text()) for process in tree
    )


def machine() -> MachineStat:
    """The machine's counters now."""
    return parse_machine_stat(Path("/proc/stat").read_text())
