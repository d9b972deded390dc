"""What a result says about where it was measured, and whether the machine was quiet."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.serve import procfs

FOREIGN_SHARE_MAX = 0.15
"""Above this share of the machine's CPU in other hands, a run refuses to report."""


class BusyMachineError(Exception):
    """Other processes took too much of the machine for the figures to mean anything."""


def slug(text: str) -> str:
    """One field of a result's name: lower case, no dots (they separate fields) and no spaces."""
    return re.sub(r"[^a-z0-9-]+", "_", text.lower()).strip("_") or "unknown"


def result_name(commit: str, cpu: str, gpu: str, governor: str, now: datetime.datetime) -> str:
    """`<commit>.<cpu>.<gpu|nogpu>.<governor>.<utc>.json`; `now` must carry a time zone."""
    if now.tzinfo is None:
        raise ValueError("the time of a result needs a time zone")
    utc = now.astimezone(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return ".".join([slug(commit), slug(cpu), slug(gpu), slug(governor), utc, "json"])


def cpu_model(cpuinfo: str) -> str:
    """The model's name out of /proc/cpuinfo."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found.group(1).strip() if found else "unknown"


def foreign_share(busy_ticks: int, own_ticks: int, wall_s: float, cores: int) -> float:
    """Share of all cores' time that went to processes which are not ours, 0 to 1."""
    if wall_s <= 0 or cores <= 0:
        raise ValueError("the interval is empty")
    return max(0.0, busy_ticks - own_ticks) / (wall_s * cores * procfs.TICKS_PER_S)


# --- the live machine --------------------------------------------------------------------------


@dataclass
class LoadWatch:
    """Watches how much of the machine others take from its creation on."""

    started_s: float
    busy_ticks: int
    steal_ticks: int
    own_ticks: int

    @classmethod
    def start(cls) -> LoadWatch:
        now = procfs.machine()
        return cls(
            time.monotonic(), now.busy_ticks, now.steal_ticks, procfs.tree_ticks(os.getpid())
        )

    def shares(self) -> tuple[float, float]:
        """(foreign, stolen) shares since the start; the second is the hypervisor's."""
        now = procfs.machine()
        wall_s = time.monotonic() - self.started_s
        cores = os.cpu_count() or 1
        own = procfs.tree_ticks(os.getpid()) - self.own_ticks
        stolen = (now.steal_ticks - self.steal_ticks) / (wall_s * cores * procfs.TICKS_PER_S)
        return foreign_share(now.busy_ticks - self.busy_ticks, own, wall_s, cores), stolen


def require_quiet(share: float, *, force: bool) -> None:
    """Raises BusyMachineError unless the machine was ours, or the caller insists."""
    if share > FOREIGN_SHARE_MAX and not force:
        raise BusyMachineError(
            f"other processes took {share:.0%} of the machine, at most {FOREIGN_SHARE_MAX:.0%} "
            "is accepted; run again when it is quiet, or use --force and say so"
        )


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "absent"
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else "unknown"


def _file(path: str, default: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return default


def commit(root: Path) -> str:
    """Short hash of the checkout, with `-dirty` when tracked files differ from it."""
    git = ["git", "-C", str(root)]
    head = _first_line(*git, "rev-parse", "--short", "HEAD")
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, check=False
    )
    return head + ("-dirty" if changed.stdout.strip() else "")


def gpu() -> str:
    """The first GPU's name, or `nogpu`."""
    name = _first_line("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return "nogpu" if name in ("absent", "unknown") or "fail" in name.lower() else name


def facts() -> dict[str, object]:
    """Everything about the machine that a reader of a result needs to doubt it."""
    return {
        "cpu": cpu_model(_file("/proc/cpuinfo", "")),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": gpu(),
        "governor": _file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "nogovernor"),
        "virtual": "hypervisor" in _file("/proc/cpuinfo", ""),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "compiler": _first_line("g++", "--version"),
        "wrk": " ".join(_first_line("wrk", "-v").split()[:2]),
        "load_average_1min": os.getloadavg()[0],
        "clock_ticks_per_s": procfs.TICKS_PER_S,
    }
