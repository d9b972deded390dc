"""One client of many threads; signals; other processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastserve.client.shm import ShmClient
from tests.python.client.conftest import LIMIT_S
from tests.python.client.shm.conftest import failure

ROW = np.arange(4, dtype=np.float32)


def test_threads_share_a_client(client):
    def ask(thread: int) -> None:
        with client.request("fixed") as request:
            for i in range(100):
                value = 1000 * thread + i
                result = client.infer("fixed", {"x": np.full(4, value, np.float32)})
                assert result["y"].tolist() == [value] * 4
                request.inputs["x"][:] = -value
                assert request.result()["y"].tolist() == [-value] * 4

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))


def test_others_run_while_a_thread_waits(client):
    client.infer("fixed", {"x": ROW})
    waiting = threading.Thread(target=client.infer, args=("slow", {"x": ROW}))
    waiting.start()
    rounds = 0
    while waiting.is_alive():
        client.infer("fixed", {"x": ROW})
        rounds += 1
    waiting.join()
    assert rounds > 50


def test_a_request_is_one_threads_at_a_time(client):
    with client.request("slow") as request:
        request.inputs["x"][:] = ROW
        results = []
        waiting = threading.Thread(target=lambda: results.append(request.result()))
        waiting.start()
        while not repr(request).endswith("sent>") or "not sent" in repr(request):
            time.sleep(0.001)
        time.sleep(0.05)
        for call in (request.result, request.send, lambda: request.inputs.__setitem__("x", ROW)):
            error = failure(call)
            assert (error.code, error.message) == (
                "FAILED_PRECONDITION",
                "another thread is in this request",
            )
        waiting.join(LIMIT_S)
        assert results[0]["y"].tolist() == ROW.tolist()


def test_another_thread_may_cancel(client):
    with client.request("slow") as request:
        request.inputs["x"][:] = ROW
        timer = threading.Timer(0.05, request.cancel)
        timer.start()
        assert failure(request.result).code == "CANCELLED"
        timer.join()


def test_closing_ends_what_others_wait_for(server):
    with ShmClient(server.port) as client:
        client.infer("fixed", {"x": ROW})
        timer = threading.Timer(0.05, client.close)
        timer.start()
        error = failure(lambda: client.infer("slow", {"x": ROW}))
        assert error.message == "the client is closed"
        timer.join()


def test_a_signal_ends_the_wait(client):
    def ring(*_: object) -> None:
        raise InterruptedError("rung")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with client.request("slow") as request:
            request.inputs["x"][:] = ROW
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(InterruptedError, match="rung"):
                request.result()
            assert request.result()["y"].tolist() == ROW.tolist()  # It went on.
    finally:
        signal.signal(signal.SIGALRM, before)


START = """
import os, sys
import numpy as np
from fastserve.client.shm import CallError, ShmClient
client = ShmClient(int(sys.argv[1]))
ROW = np.arange(4, dtype=np.float32)
"""


def run(server, code: str) -> str:
    """What the program printed. It fails by a time-out when it hangs."""
    done = subprocess.run(
        # From 3.12 on Python warns of what is tested here.
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            START + textwrap.dedent(code),
            str(server.port),
        ],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_child_of_a_fork_is_told_what_to_do(server):
    printed = run(
        server,
        """
        request = client.request("fixed")
        request.inputs["x"][:] = ROW
        kept = request.result()["y"]
        child = os.fork()
        if child == 0:
            for call in (
                lambda: client.infer("fixed", {"x": ROW}), request.result, request.send,
                lambda: client.request("fixed"), lambda: client.model_metadata("fixed"),
                lambda: client.request("fixed", batch=3),
            ):
                try:
                    call()
                except CallError as error:
                    print(error.code, "make another client here" in error.message, flush=True)
            del kept, request
            client.close()
            with ShmClient(int(sys.argv[1])) as other:
                print(other.infer("fixed", {"x": ROW})["y"].tolist(), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print(client.infer("fixed", {"x": ROW})["y"].tolist(), request.result()["y"].tolist())
        """,
    )
    row = str(ROW.tolist())
    told = "FAILED_PRECONDITION True"
    assert printed.splitlines() == [told] * 6 + [row, f"{row} {row}"]


def test_one_that_had_not_connected_may_be_used_in_a_child(server):
    printed = run(
        server,
        """
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        print(client.infer("fixed", {"x": ROW})["y"].sum(), flush=True)
        if child == 0:
            os._exit(0)
        """,
    )
    assert printed == "6.0\n6.0\n"


def test_a_program_may_end_with_everything_open(server):
    printed = run(
        server,
        """
        import threading
        request = client.request("slow")
        request.inputs["x"][:] = ROW
        threading.Thread(target=client.infer, args=("slow", {"x": ROW}), daemon=True).start()
        request.send()
        print("end", os.getpid() > 0)
        """,
    )
    assert printed == "end True\n"
    assert os.getpid() > 0
