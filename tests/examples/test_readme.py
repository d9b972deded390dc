"""The README's blocks do what they show.

A comment above a fenced block marks it: `serve` starts its command in the background, for the
blocks after it; `run` runs it, and its lines without a `$` are the expected output, in which `...`
stands for anything; `demo` is what `make run` prints. The port 8000 is replaced by a free one.
"""

import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

BLOCK = re.compile(r"^<!-- (serve|run|demo) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READY_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 60


@dataclass(frozen=True)
class Block:
    mark: str
    language: str
    text: str


def blocks(readme: str) -> list[Block]:
    return [Block(*match.groups()) for match in BLOCK.finditer(readme)]


@pytest.fixture
def readme(root) -> str:
    return (root / "README.md").read_text()


@pytest.fixture
def checkout(root, tmp_path) -> Path:
    """A folder that looks like the repository to the commands, and may be written to."""
    (tmp_path / "examples").symlink_to(root / "examples")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


class Servers:
    """At most one server at a time, each on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self, command: str) -> None:
        self.stop()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        arguments = [*shlex.split(command), "--port", str(self.port)]
        self._child = subprocess.Popen(arguments, cwd=self._folder)
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._is_ready():
            assert self._child.poll() is None, f"ended by itself: {command}"
            assert time.monotonic() < deadline_s, f"not ready in time: {command}"
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}/v2/health/ready"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            assert self._child.wait(30) == 0
            self._child = None


@pytest.fixture
def servers(checkout) -> Iterator[Servers]:
    if not (checkout / ".venv/bin/fastserve").exists():
        pytest.skip("fastserve is not installed")
    servers = Servers(checkout)
    yield servers
    servers.stop()


def commands(text: str) -> list[tuple[str, str]]:
    """Each command of a console block and the output shown below it."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def matches(shown: str, printed: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("..."))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def run_console(text: str, folder: Path) -> None:
    for command, shown in commands(text):
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        if shown.strip():
            assert matches(shown, result.stdout), f"{command}\n{result.stdout}"
        elif command.startswith("curl"):
            assert result.stdout, f"{command}: nothing came back"


def run_python(text: str, folder: Path) -> None:
    """The block in a fresh interpreter; a comment behind a print is what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    assert result.returncode == 0, result.stderr
    for line, shown in zip(
        result.stdout.splitlines(), re.findall(r"print\(.*\)  # (.*)", text), strict=True
    ):
        assert line == shown


def test_every_marked_block_runs_in_order(readme, checkout, servers):
    pytest.importorskip("tritonclient.http")
    for block in blocks(readme):
        text = re.sub(r"\b8000\b", str(servers.port), block.text)
        if block.mark == "serve":
            ((command, _),) = commands(block.text)
            servers.start(command)
        elif block.mark == "run" and block.language == "console":
            run_console(text, checkout)
        elif block.mark == "run":
            assert block.language == "python"
            run_python(text, checkout)


def steady(text: str) -> str:
    """The demo's output without what differs from run to run."""
    text = re.sub(r"\d+(\.\d+)?( ?)(ms|us|s|bytes)\b", r"N\2\3", text)
    return re.sub(r"127\.0\.0\.1:\d+", "HOST", text).strip()


def test_the_picture_is_what_the_demo_prints(readme, run_example):
    (picture,) = [block.text for block in blocks(readme) if block.mark == "demo"]
    printed = run_example("digits/demo.py", "--once", PYTHONUTF8="1").stdout
    assert steady(picture) == steady(printed)


def test_every_link_inside_the_tree_leads_somewhere(readme, root):
    links = re.findall(r"\]\((?!https?:)([^)#]*)", readme)
    assert links
    assert [link for link in links if link and not (root / link).exists()] == []


# Every fenced block is executed, but for the two commands that would run this very test.
def test_no_block_is_left_unmarked(readme):
    fences = re.findall(
        r"^(?:<!-- (\w+) -->\n)?```(\w+)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL
    )
    unmarked = [text for mark, _, text in fences if not mark]
    assert unmarked == ["$ make run\n$ make test\n"]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a...c", "abbbc\n", True),
        ("a...c", "abbb\n", False),
        ("[7]", "7", False),
        ("one", "one\ntwo", False),
    ],
)
def test_dots_in_shown_output_stand_for_anything(shown, printed, same):
    assert matches(shown, printed) is same


def test_commands_are_told_from_their_output():
    assert commands("$ a b\nx\ny\n$ c\n") == [("a b", "x\ny\n"), ("c", "")]
