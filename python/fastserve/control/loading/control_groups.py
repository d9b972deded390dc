"""What Linux allows this process: its control groups, of either version, and those around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
# The first version says "no limit" with the largest number of pages.
_UNLIMITED = 1 << 62


def read(root: Path, path: str | Path) -> str | None:
    """A file of the kernel's, below `root`; None if there is none."""
    try:
        return (root / path).read_text().strip()
    except OSError:
        return None


def groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the own group and of those around it; "" is the second version's."""
    base = Path("sys/fs/cgroup") / controller
    for line in (read(root, "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            folder = base / path.lstrip("/")
            yield folder
            yield from (parent for parent in folder.parents if parent.is_relative_to(base))
            return
    yield base


def available_bytes(root: Path = ROOT) -> int | None:
    """Memory that may still be taken without swapping; None where nobody says.

    What a group holds of files that nobody reads at the moment is given up when it is needed.
    """
    found = [
        int(line.split()[1]) << 10
        for line in (read(root, "proc/meminfo") or "").splitlines()
        if line.startswith("MemAvailable:")
    ]
    for controller, limit, usage, inactive in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in groups(root, controller):
            most = _number(read(root, folder / limit))
            used = _number(read(root, folder / usage))
            if most is None or used is None or most >= _UNLIMITED:
                continue
            stats = dict(
                line.rsplit(" ", 1)
                for line in (read(root, folder / "memory.stat") or "").splitlines()
                if " " in line
            )
            found.append(max(0, most - used + (_number(stats.get(inactive)) or 0)))
    return min(found, default=None)


def available_threads(root: Path = ROOT) -> int | None:
    """Threads that may still be started; None where nobody says."""
    found = []
    for controller in ("", "pids"):
        for folder in groups(root, controller):
            most = _number(read(root, folder / "pids.max"))
            used = _number(read(root, folder / "pids.current"))
            if most is not None and used is not None:
                found.append(max(0, most - used))
    most = _number(read(root, "proc/sys/kernel/threads-max"))
    if most is not None:
        found.append(most)
    return min(found, default=None)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
