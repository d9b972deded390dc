"""Reading CPU and memory out of /proc."""

import os

import pytest

from bench.serve import procfs
from bench.serve.procfs import MachineStat, ProcessStat
from tests.proc import needs_own_proc

STAT = (
    "41 ({name}) S 7 41 41 0 -1 4194304 101 0 0 0 30 12 5 3 20 0 4 0 625146 3133440 410 "
    "18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
)


# A process may call itself anything, also something that looks like the fields behind its name.
@pytest.mark.parametrize("name", ["python", "a b", "x) R 1 2 3 (y"])
def test_a_process_is_read_whatever_its_name(name):
    expected = ProcessStat(pid=41, parent_pid=7, own_ticks=42, reaped_ticks=8, threads=4)
    assert procfs.parse_process_stat(STAT.format(name=name)) == expected


def test_interrupt_time_is_nobodys_and_steal_is_kept_apart():
    text = "cpu  100 20 30 4000 50 60 70 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
    assert procfs.parse_machine_stat(text) == MachineStat(busy_ticks=150, steal_ticks=8)


def test_a_file_that_is_not_the_machines_is_refused():
    with pytest.raises(ValueError, match="expected 'cpu'"):
        procfs.parse_machine_stat("intr 1 2 3\n")


def test_proportional_memory_is_read_in_bytes():
    assert procfs.parse_pss_bytes("aaa-bbb [rollup]\nRss:  100 kB\nPss:  60 kB\n") == 61_440
    with pytest.raises(ValueError, match="no Pss"):
        procfs.parse_pss_bytes("Rss: 100 kB\n")


def process(pid, parent_pid, own_ticks=0, reaped_ticks=0):
    return ProcessStat(pid, parent_pid, own_ticks, reaped_ticks, threads=1)


# 1 -> 2 -> 4, 1 -> 3; 9 is a stranger.
def test_a_tree_holds_all_descendants_and_no_stranger():
    everyone = [process(4, 2), process(9, 8), process(2, 1), process(3, 1), process(1, 0)]
    assert sorted(found.pid for found in procfs.tree_of(1, everyone)) == [1, 2, 3, 4]
    assert [found.pid for found in procfs.tree_of(2, everyone)] == [2, 4]


def test_the_tree_of_a_process_that_is_gone_is_empty():
    assert procfs.tree_of(5, [process(1, 0)]) == []


# A worker that died would otherwise take its CPU out of the bill.
def test_buried_children_stay_on_the_bill():
    assert procfs.ticks_of([process(1, 0, 10, 5), process(2, 1, 3)]) == 18


@needs_own_proc
def test_this_process_is_found_and_metered():
    tree = procfs.tree_of(os.getpid(), procfs.all_processes())
    assert os.getpid() in {found.pid for found in tree}
    assert procfs.tree_ticks(os.getpid()) > 0
    assert procfs.tree_pss_bytes(os.getpid()) > 1_000_000
