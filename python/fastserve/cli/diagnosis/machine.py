"""What this machine gives a server: processors, memory, sockets, clocks.

Read from /proc, /sys and the process itself; `root` stands for / in tests. Whatever cannot be read
is left out: a container may hide it.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from fastserve.cli.diagnosis.finding import Finding, ok, warn
from fastserve.config.options import Options
from fastserve.control.loading.control_groups import groups, read
from fastserve.server.sockets.listen import BACKLOG

# Beside its connections a server holds models, libraries, logs and its listening sockets.
_OTHER_FILES = 128
_MEMORY_SMALL_BYTES = 256 << 20
_CLOCKS_SLOW = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")


class Machine:
    def __init__(self, options: Options, root: Path = Path("/")) -> None:
        self._options = options
        self._root = root

    def findings(self) -> Iterator[Finding]:
        for check in (
            self.processors,
            self.memory,
            self.open_files,
            self.backlog,
            self.huge_pages,
            self.shared_memory,
            self.clock,
        ):
            found = check()
            if found is not None:
                yield found

    def processors(self) -> Finding:
        allowed = len(os.sched_getaffinity(0))
        text = f"{allowed} of {os.cpu_count()} may be used"
        quota = self._quota()
        if quota is None:
            return ok("processors", text)
        text += f", {quota:g} by the cgroup's quota"
        if quota < 1:
            return warn(
                "processors",
                text,
                "a server with less than one is stopped now and then: raise the CPU limit",
            )
        if quota < allowed:
            return warn(
                "processors",
                text,
                f"who runs more threads than {quota:g} is throttled: keep --loops, --instances and"
                " --threads below it, and do not leave the choice to the engine (--threads 0)",
            )
        return ok("processors", text)

    def memory(self) -> Finding | None:
        total = self._memory_total_bytes()
        limit = self._memory_limit_bytes()
        if total is None and limit is None:
            return None
        allowed = min(value for value in (total, limit) if value is not None)
        text = f"{_shown(allowed)}, {'the cgroup limit' if allowed == limit else 'all of it'}"
        in_flight = self._options.in_flight_bytes_max
        if allowed < _MEMORY_SMALL_BYTES:
            return warn("memory", text, "little for a server with models: raise the limit")
        if in_flight > allowed // 2:
            return warn(
                "memory",
                text,
                f"bodies in flight may take {_shown(in_flight)} of it: lower --max-in-flight",
            )
        return ok("memory", text)

    def open_files(self) -> Finding:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self._options.connections_max + _OTHER_FILES
        shown = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
        text = f"{shown} may be open, --max-connections is {self._options.connections_max}"
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return ok("open files", text)
        raised = f"ulimit -n {wanted}"
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raised = f"raise the hard limit of {hard} (LimitNOFILE= of systemd, ulimits of Docker)"
        fits = max(1, soft - _OTHER_FILES)
        return warn("open files", text, f"{raised}, or --max-connections {fits}")

    def backlog(self) -> Finding | None:
        text = self._read("proc/sys/net/core/somaxconn")
        if text is None:
            return None
        if int(text) >= BACKLOG:
            return ok("backlog", f"somaxconn is {text}")
        return warn(
            "backlog",
            f"somaxconn is {text}",
            f"clients that come at once may be dropped: sysctl net.core.somaxconn={BACKLOG}",
        )

    def huge_pages(self) -> Finding | None:
        text = self._read("sys/kernel/mm/transparent_hugepage/enabled")
        if text is None:
            return None
        chosen = text.partition("[")[2].partition("]")[0] or text
        return ok("huge pages", f"transparent ones: {chosen}")

    def shared_memory(self) -> Finding | None:
        path = self._root / "dev" / "shm"
        if not path.is_dir():
            return None
        size = _shown(shutil.disk_usage(path).total)
        return ok("shared memory", f"/dev/shm holds {size}")

    def clock(self) -> Finding | None:
        text = self._read("sys/devices/system/clocksource/clocksource0/current_clocksource")
        if text is None:
            return None
        if text in _CLOCKS_SLOW:
            return warn(
                "clock",
                f"the clock source is {text}",
                "each look at the clock is a system call, several a request: see dmesg for why the"
                " processor's own was refused",
            )
        return ok("clock", f"the clock source is {text}")

    # -- Control groups ----------------------------------------------------------------------

    def _quota(self) -> float | None:
        """Processors by the tightest quota of the own group and those around it."""
        quotas = []
        for folder in self._groups(""):
            text = self._read(folder / "cpu.max")
            if text is not None and not text.startswith("max"):
                quota_us, period_us = text.split()
                quotas.append(int(quota_us) / int(period_us))
        for folder in self._groups("cpu"):
            quota = self._read(folder / "cpu.cfs_quota_us")
            period = self._read(folder / "cpu.cfs_period_us")
            if quota and period and int(quota) > 0:
                quotas.append(int(quota) / int(period))
        return min(quotas, default=None)

    def _memory_limit_bytes(self) -> int | None:
        limits = []
        for controller, name in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):
            for folder in self._groups(controller):
                text = self._read(folder / name)
                # The first version says "no limit" with the largest number of pages.
                if text is not None and text.isdigit() and int(text) < 1 << 62:
                    limits.append(int(text))
        return min(limits, default=None)

    def _memory_total_bytes(self) -> int | None:
        for line in (self._read("proc/meminfo") or "").splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) << 10
        return None

    def _groups(self, controller: str) -> Iterator[Path]:
        return groups(self._root, controller)

    def _read(self, path: str | Path) -> str | None:
        return read(self._root, path)


def _shown(count_bytes: int) -> str:
    gib = count_bytes / (1 << 30)
    return f"{gib:.1f} GiB" if gib >= 1 else f"{count_bytes / (1 << 20):.0f} MiB"
