"""Two hundred servers later, the process is what it was after a few."""

import gc
import os
import threading

import numpy as np

import fastserve

CYCLES, WARM_UP_CYCLES = 200, 20
# What allocators keep for themselves; a server that stayed would be megabytes each.
GROWTH_BYTES_MAX = 24 << 20


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held():
    """Threads, files, resident bytes."""
    gc.collect()
    with open("/proc/self/status") as file:
        threads = next(int(line.split()[1]) for line in file if line.startswith("Threads:"))
    return threads, len(os.listdir("/proc/self/fd")), resident_bytes()


def cycle(digits, number):
    with fastserve.Server() as server:
        model = server.load(digits)
        assert model.infer({"image": np.zeros((1, 8, 8), np.float32)})["label"].shape == (1,)
        if number % 10 == 0:
            server.listen(port=0)


def ours():
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("fastserve-")}


def test_servers_leave_nothing_behind(digits):
    before = ours()
    for number in range(WARM_UP_CYCLES):
        cycle(digits, number)
    threads, files, rss_bytes = held()
    for number in range(CYCLES):
        cycle(digits, number)
    threads_now, files_now, rss_bytes_now = held()
    assert threads_now <= threads
    assert files_now <= files
    assert rss_bytes_now - rss_bytes < GROWTH_BYTES_MAX
    # The thread of the futures' callbacks, if a test before this one had some, is the process's.
    assert ours() <= before
