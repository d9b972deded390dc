"""A server that nobody closed warns, and keeps nobody from ending."""

import gc
import subprocess
import sys
import threading
import weakref

import pytest

import fastserve
from tests.python.embed.conftest import DIGITS, LIMIT_S


def run(program, *flags):
    """A Python of its own, which must end by itself."""
    return subprocess.run(
        [sys.executable, *flags, "-c", program, str(DIGITS)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def test_a_collected_server_warns_and_ends_its_threads():
    servers = [fastserve.Server()]
    listener = servers[0].listen(port=0)
    with pytest.warns(ResourceWarning, match="a fastserve.Server was not closed"):
        servers.clear()
    listener.join(LIMIT_S)
    assert not listener.is_open


def test_a_closed_server_does_not_warn(digits):
    server = fastserve.Server()
    server.load(digits)
    server.close()
    gone = weakref.ref(server)
    del server
    gc.collect()
    assert gone() is None


FORGOTTEN = """
import sys, fastserve
server = fastserve.Server()
model = server.load(sys.argv[1])
listener = server.listen(port=0)
print("ran")
"""


def test_the_exit_of_a_program_that_forgot_is_clean():
    done = run(FORGOTTEN)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


def test_the_exit_of_a_program_that_forgot_warns_who_wants_to_know():
    done = run(FORGOTTEN, "-W", "error::ResourceWarning")
    assert done.stdout == "ran\n"
    assert "a fastserve.Server was not closed" in done.stderr
    assert "Fatal" not in done.stderr


IN_A_HANDLER = """
import atexit, sys, fastserve
server = fastserve.Server()
server.load(sys.argv[1])
server.listen(port=0)
atexit.register(server.close)
"""


def test_a_program_may_close_at_its_exit():
    done = run(IN_A_HANDLER, "-W", "error::ResourceWarning")
    assert (done.returncode, done.stderr) == (0, "")


RAISES = """
import sys, fastserve
with fastserve.Server() as server:
    server.load(sys.argv[1])
    server.listen(port=0)
    raise KeyboardInterrupt
"""


def test_an_exception_out_of_the_block_closes_it():
    done = run(RAISES, "-W", "error::ResourceWarning")
    assert "KeyboardInterrupt" in done.stderr
    assert "ResourceWarning" not in done.stderr


def test_closing_in_two_threads_is_closing_once(digits):
    server = fastserve.Server()
    server.load(digits)
    threads = [threading.Thread(target=server.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.is_closed
