"""Calls fail in turn, at the start and under requests: a clear end, or service."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import kserve
from tests.attacks.raw_http import ConnectionEnded, Wire, post
from tests.faults.conftest import MODELS, is_right, numbered
from tests.faults.failing import FailingCalls
from tests.served import EXECUTABLE, Answer, Server

# Below, protobuf takes for granted what it gets, and crashes.
LARGE_AT_START_BYTES = 64 << 10
START_WITHIN_S = 30.0
# At the start: what is asked for once, by us, the loop or an engine. Not epoll_ctl: libuv aborts.
AT_START = ("eventfd", "pthread_create", "aligned_alloc", "malloc")
LARGE_ELEMENTS = 150_000  # 600 KB.


@pytest.fixture(scope="module")
def calls_of(library, tmp_path_factory) -> FailingCalls:
    """Those of `starving`."""
    return FailingCalls(library, tmp_path_factory.mktemp("starving"))


@pytest.fixture(scope="module")
def starving(models, calls_of) -> Iterator[Server]:
    with Server(models, environment=calls_of.environment) as server:
        yield server


class Attempt:
    """A server that may or may not come up."""

    def __init__(self, models: Path, calls: FailingCalls, log: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FASTSERVE_")}
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [EXECUTABLE, "run", models, "--port", "0"],
                env={**environment, **calls.environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def outcome(self) -> int | None:
        """The port when it serves; None when it ended, which must be with a word and a status."""
        deadline_s = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline_s:
            status = self._process.poll()
            if status is not None:
                assert status in (1, 2), f"it ended with {status}:\n{self.log()}"
                assert self.log().strip(), "it ended without a word"
                return None
            if " is serving at " in self.log():
                found = re.search(r"listening on http://[^:\s]+:(\d+)", self.log())
                assert found
                return int(found[1])
            time.sleep(0.01)
        raise AssertionError(f"neither up nor down after {START_WITHIN_S:.0f} s:\n{self.log()}")

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                status = self._process.wait(START_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise AssertionError(f"it did not end:\n{self.log()}") from None
            assert status == 0, f"it ended with {status}:\n{self.log()}"


def check_answers(port: int) -> None:
    """Every model is right, or says why it is not served."""
    for number, model in enumerate(MODELS):
        with Wire(port) as wire:
            wire.send(numbered(number, model))
            answer = wire.read()
        if not is_right(answer, number):
            assert answer.status == 503, answer
            assert answer.error


def calls_at_start(models: Path, library: Path, folder: Path) -> dict[str, int]:
    """How often each is called until every model is served and has answered."""
    calls = FailingCalls(library, folder)
    calls["malloc"].spare_python(LARGE_AT_START_BYTES)
    attempt = Attempt(models, calls, folder / "log")
    try:
        port = attempt.outcome()
        assert port is not None, attempt.log()
        check_answers(port)
        return {name: calls[name].seen for name in AT_START}
    finally:
        attempt.end()


def test_the_calls_of_a_start_are_seen(models, library, tmp_path):
    """Else nothing below would fail anything."""
    seen = calls_at_start(models, library, tmp_path)
    assert all(seen.values()), seen


@pytest.mark.parametrize("name", AT_START)
def test_a_start_without_one_of_its_calls_ends_clearly_or_serves(models, library, tmp_path, name):
    count = calls_at_start(models, library, tmp_path)[name]
    for number in range(1, count + 1):
        calls = FailingCalls(library, tmp_path)
        calls["malloc"].spare_python(LARGE_AT_START_BYTES)
        calls[name].fail_number(number)
        attempt = Attempt(models, calls, tmp_path / "log")
        try:
            port = attempt.outcome()
            assert calls[name].failed == 1, f"call {number} of {name} was not made"
            if port is not None:
                check_answers(port)
        finally:
            attempt.end()


# -- Under requests --------------------------------------------------------------------------------


def large_binary(number: int, model: str) -> bytes:
    """600 KB in and out, as raw bytes."""
    body, headers = kserve.binary_body(
        [kserve.binary_tensor("x", np.full((1, LARGE_ELEMENTS), number, np.float32))],
        parameters={"binary_data_output": True},
    )
    return post(model, body, *(f"{name}: {value}" for name, value in headers.items()))


def large_json_answer(number: int, model: str) -> bytes:
    """Raw bytes in, 600 KB of JSON out."""
    body, headers = kserve.binary_body(
        [kserve.binary_tensor("x", np.full((1, LARGE_ELEMENTS), number, np.float32))]
    )
    return post(model, body, *(f"{name}: {value}" for name, value in headers.items()))


def is_right_large(answer: Answer, number: int) -> bool:
    """Whether it is a 200, which must be right then; else it must be an error that fits."""
    if answer.status != 200:
        assert answer.status in (429, 500, 503), answer
        assert answer.error
        return False
    (output,) = kserve.result(answer).outputs.values()
    assert output.shape == (1, LARGE_ELEMENTS)
    assert (output == number).all()
    return True


LARGE = {"binary": large_binary, "json": large_json_answer}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("name", ["aligned_alloc", "malloc"])
def test_each_allocation_of_a_large_request_fails_in_turn(starving, calls_of, name, kind, model):
    """An answer with a reason, or the end of that one connection; the next request is served."""
    request = LARGE[kind](7, model)

    def ask() -> bool:
        try:
            with Wire(starving.port) as wire:
                wire.send(request)
                return is_right_large(wire.read(), 7)
        except ConnectionEnded:
            return False

    call = calls_of[name]
    call.succeed()
    before = call.seen
    assert ask()
    number = 0
    for number in range(call.seen - before + 1):
        call.fail_after(number)
        ask()
        call.succeed()
        assert ask(), f"call {number} failed, and so does the request after it"
    starving.check_healthy()


def ask_many(port: int) -> list[str]:
    """Many at once, each with an answer or the end of its own connection; the errors that came."""
    errors = []
    wires = [Wire(port) for _ in range(24)]
    try:
        for number, wire in enumerate(wires):
            make = (large_binary, large_json_answer, numbered)[number % 3]
            wire.send(make(number, MODELS[number // 3 % len(MODELS)]))
        for number, wire in enumerate(wires):
            with contextlib.suppress(ConnectionEnded):
                answer = wire.read()
                if number % 3 != 2:
                    right = is_right_large(answer, number)
                else:
                    right = is_right(answer, number)
                    assert right or answer.status in (429, 500, 503), answer
                errors += [] if right else [answer.error]
    finally:
        for wire in wires:
            wire.close()
    return errors


WORDS = {"aligned_alloc": "no memory for a body", "malloc": "no memory for the answer"}


@pytest.mark.parametrize("name", WORDS)
def test_while_memory_is_short_nobody_waits_for_ever(models, calls, name):
    """Those that end beside one without memory must not be lost with it."""
    with Server(models, environment=calls.environment) as server:
        # First of a server whose buffers have not grown yet.
        calls[name].fail(times=1 << 40)
        errors = ask_many(server.port)
        assert any(WORDS[name] in error for error in errors), errors
        calls[name].succeed()
        server.check_healthy()
        for number, model in enumerate(MODELS):
            for make in (large_binary, large_json_answer):
                with Wire(server.port) as wire:
                    wire.send(make(number, model))
                    assert is_right_large(wire.read(), number)
