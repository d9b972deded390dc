"""Descriptors run out under clients over shared memory: those who are there are served."""

import os
import resource
import time

import numpy as np
import pytest

from fastserve.client.shm import CallError, ShmClient
from tests import proc
from tests.faults.conftest import cpu_s
from tests.faults.test_descriptors import CPU_SHARE_MAX, STARVED_S, starved
from tests.served import Server

SERVED_AGAIN_WITHIN_S = 10.0


def check_serves(client: ShmClient, number: int) -> None:
    data = np.array([[number, -number, number + 1]], np.float32)
    assert np.array_equal(client.infer("echo", {"x": data}, timeout=10)["y"], data)


def new_client(server: Server, connect_timeout_s: float) -> ShmClient:
    return ShmClient(server.port, connect_timeout=connect_timeout_s, segment_bytes=1 << 20)


def test_without_descriptors_the_connected_are_served_and_nobody_spins(models):
    with Server(models) as server, new_client(server, 5) as connected:
        check_serves(connected, 1)
        with starved(server):
            with new_client(server, 0.3) as late, pytest.raises(CallError) as refused:
                check_serves(late, 2)
            assert refused.value.code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
            before_s = cpu_s(server)
            time.sleep(STARVED_S)
            assert cpu_s(server) - before_s < CPU_SHARE_MAX * STARVED_S
            check_serves(connected, 3)
        with new_client(server, SERVED_AGAIN_WITHIN_S) as welcome:
            check_serves(welcome, 4)


@proc.needs_own_proc
def test_a_client_for_whose_segment_there_is_no_descriptor_is_told(models):
    """Its socket is the last one that there is."""
    with Server(models) as server, new_client(server, 5) as connected:
        check_serves(connected, 1)
        before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        held = max(int(fd) for fd in os.listdir(f"/proc/{server.pid}/fd"))
        # Room for a socket and a process to watch; not for a segment and a bell as well.
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (held + 3, before[1]))
        try:
            with new_client(server, 0.3) as late, pytest.raises(CallError) as refused:
                check_serves(late, 2)
            assert refused.value.code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
            check_serves(connected, 3)
        finally:
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
        with new_client(server, SERVED_AGAIN_WITHIN_S) as welcome:
            check_serves(welcome, 4)
