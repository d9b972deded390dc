"""What is still available, by the groups of either version and those around them."""

import pytest

from fastserve.control.loading.control_groups import available_bytes, available_threads, groups

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path):
    def make(**files):
        for path, content in files.items():
            target = tmp_path / path.replace("__", "/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        return tmp_path

    return make


def test_this_machine_says_something():
    assert (available_bytes() or 1) > 0
    assert (available_threads() or 1) > 0


def test_without_groups_it_is_what_the_kernel_could_give(machine):
    root = machine(proc__meminfo="MemTotal: 9 kB\nMemAvailable:  8192 kB\n")
    assert available_bytes(root) == 8 << 20
    assert available_bytes(root / "nowhere") is None


# The tightest one counts, and files that nobody reads give way.
def test_the_second_version_limits_by_every_group_around(machine):
    root = machine(
        proc__meminfo=f"MemAvailable: {8 * GIB >> 10} kB\n", proc__self__cgroup="0::/pod/app\n"
    )
    files = {
        "pod/app/memory.max": "max",
        "pod/app/memory.current": str(GIB),
        "pod/memory.max": str(4 * GIB),
        "pod/memory.current": str(3 * GIB),
        "pod/memory.stat": f"anon {GIB}\ninactive_file {GIB}\n",
        "pod/pids.max": "100",
        "pod/pids.current": "30",
        "pod/app/pids.max": "max",
        "pod/app/pids.current": "1",
    }
    for path, content in files.items():
        target = root / "sys/fs/cgroup" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    assert available_bytes(root) == 2 * GIB
    assert available_threads(root) == 70
    assert [str(folder) for folder in groups(root, "")] == [
        "sys/fs/cgroup/pod/app", "sys/fs/cgroup/pod", "sys/fs/cgroup",
    ]  # fmt: skip


def test_the_first_version_limits_as_well(machine):
    root = machine(proc__self__cgroup="9:pids:/\n4:memory:/app\n0::/\n")
    files = {
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "memory/memory.usage_in_bytes": "1",
        "memory/app/memory.limit_in_bytes": str(2 * GIB),
        "memory/app/memory.usage_in_bytes": str(2 * GIB),
        "memory/app/memory.stat": "total_inactive_file 3\n",
    }
    for path, content in files.items():
        target = root / "sys/fs/cgroup" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    assert available_bytes(root) == 3
    assert available_threads(root) is None
