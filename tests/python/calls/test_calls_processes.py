"""Signals, forks and the end of the interpreter, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

START = """
import os, signal, sys, threading
from fastserve import _core

def serve(delay_us=0, **options):
    x, y = _core.TensorSpec("x", "FP32", [-1]), _core.TensorSpec("y", "FP32", [-1])
    model = _core.open_identity([x], [y], parameters={"delay_us": str(delay_us)})
    servable = _core.Servable(
        model, name="m", version=1, inputs=[x], outputs=[y], **options)
    serving_map = _core.ServingMap()
    serving_map.publish(servable)
    return servable, _core.Caller(serving_map, "m")
"""


def run(code: str, returncode: int = 0) -> str:
    """What the program printed. It fails by a time-out when it hangs."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", START + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == returncode, done.stderr
    assert returncode != 0 or done.stderr == ""
    return done.stdout


def test_numpy_is_not_imported_before_the_first_call():
    assert (
        run("""
        servable, caller = serve()
        print("numpy" in sys.modules)
        caller.infer([1.0])
        print("numpy" in sys.modules)
    """)
        == "False\nTrue\n"
    )


# Signals. The handler is Python's own, which raises KeyboardInterrupt.


@pytest.mark.parametrize("call", ["caller.infer([1.0])", "caller.submit([1.0]).result()"])
def test_ctrl_c_ends_the_wait(call):
    assert (
        run(f"""
        servable, caller = serve(delay_us=3_000_000, caller_runs="never")
        first = caller.submit([0.0])
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            {call}
        except KeyboardInterrupt:
            print("interrupted", first.done())
        print(len(caller.submit([0.0, 1.0]).result()["y"]))
    """)
        == "interrupted False\n2\n"
    )


def test_a_handler_that_returns_does_not_end_the_wait():
    assert (
        run("""
        servable, caller = serve(delay_us=300_000, caller_runs="never")
        signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        print(len(caller.infer([1.0])["y"]))
    """)
        == "alarm\n1\n"
    )


# Forks.


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_a_forked_child_is_told_what_to_do(end):
    printed = run(f"""
        import asyncio, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Threads and fork, since 3.12.
        servable, caller = serve(delay_us=100_000, caller_runs="never")
        before = caller.submit([1.0])
        caller.submit([2.0])

        def tell(call):
            try:
                call()
            except _core.CoreError as error:
                print(error.args[0], error.args[1].split(": ")[1])

        async def awaited():
            await caller.ainfer([1.0])

        child = os.fork()
        if child == 0:
            tell(lambda: caller.infer([1.0]))
            tell(lambda: caller.submit([1.0]))
            tell(lambda: asyncio.run(awaited()))
            tell(before.result)
            print(before.cancel())
            del before, caller, servable
            sys.stdout.flush()
            {end}
        print(os.waitpid(child, 0)[1], len(before.result()["y"]))
    """)
    lines = printed.splitlines()
    fix = 'make the Server in the child, or start processes with multiprocessing\'s "spawn"'
    assert lines == [f"FAILED_PRECONDITION {fix}"] * 4 + ["False", "0 1"]


def test_a_child_can_serve_models_of_its_own():
    assert (
        run("""
        import asyncio, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        servable, caller = serve()
        async def awaited(caller):
            return await caller.ainfer([1.0, 2.0])
        asyncio.run(awaited(caller))
        caller.submit([1.0]).add_done_callback(lambda _: None)
        child = os.fork()
        if child == 0:
            servable, caller = serve(delay_us=1000)
            done = threading.Event()
            caller.submit([1.0]).add_done_callback(lambda _: done.set())
            print(done.wait(10), len(asyncio.run(awaited(caller))["y"]), len(caller.infer([1.0])))
            sys.stdout.flush()
            sys.exit(0)
        print(os.waitpid(child, 0)[1])
    """)
        == "True 2 1\n0\n"
    )


# The end of the interpreter.


def test_a_process_ends_while_calls_are_under_way():
    assert (
        run("""
        servable, caller = serve(delay_us=200_000, caller_runs="never")
        future = caller.submit([1.0])
        caller.submit([2.0]).add_done_callback(print)
        caller.submit([3.0])
    """)
        == ""
    )


def test_a_process_ends_while_daemon_threads_call():
    assert (
        run("""
        servable, caller = serve()
        started = threading.Barrier(4)
        def call():
            started.wait()
            while True:
                caller.infer([1.0])
                caller.submit([1.0]).result()
        for _ in range(3):
            threading.Thread(target=call, daemon=True).start()
        started.wait()
        for _ in range(100):
            caller.infer([1.0])
    """)
        == ""
    )


def test_a_process_ends_while_daemon_threads_wait():
    assert (
        run("""
        servable, caller = serve(delay_us=500_000, caller_runs="never")
        first = caller.submit([1.0])
        for call in (caller.infer, lambda x: caller.submit(x).result()):
            threading.Thread(target=call, args=([1.0],), daemon=True).start()
    """)
        == ""
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_many_children_come_and_go():
    assert (
        run("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        servable, caller = serve()
        running = True
        def call():
            while running:
                caller.infer([1.0])
        thread = threading.Thread(target=call)
        thread.start()
        status = 0
        for i in range(20):
            child = os.fork()
            if child == 0:
                del servable, caller
                os._exit(0)
            status |= os.waitpid(child, 0)[1]
        running = False
        thread.join()
        print(status)
    """)
        == "0\n"
    )
