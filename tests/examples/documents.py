"""Documents whose blocks are executed: README.md, docs/*.md and others that show commands.

A comment above a fenced block marks it: `serve` starts its command in the background, for the
blocks after it; `run` runs it, and its lines without a `$` are the expected output, in which `...`
stands for anything; `file PATH` writes its text there; `demo` is what `make run` prints; `shown:
WHY` is the one that is not executed, and says why. The port 8000 is replaced by a free one.
"""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.tidy.tree import ROOT

BLOCK = re.compile(
    r"^(?:<!-- (serve|run|demo|file|shown:)(?: ([^\n]*?))? -->\n)?```(\w+)\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
READY_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 60


@dataclass(frozen=True)
class Block:
    mark: str  # "" if nothing says what the block is.
    argument: str
    language: str
    text: str


def documents() -> list[str]:
    """Everything that shows a user commands, by its path in the tree."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "deploy" / "README.md"]
    paths += sorted((ROOT / "docs").glob("*.md"))
    return [str(path.relative_to(ROOT)) for path in paths if path.exists()]


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    return [Block(*(part or "" for part in match.groups())) for match in BLOCK.finditer(text)]


def commands(text: str) -> list[tuple[str, str]]:
    """Each command of a console block, which `\\` continues, and the output shown below it."""
    parts = re.split(r"^\$ ((?:.*\\\n)*.*)\n", text, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def matches(shown: str, printed: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("..."))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def environment(folder: Path) -> dict[str, str]:
    """As after `source .venv/bin/activate`, with no setting of a developer's shell."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FASTSERVE_")}
    return kept | {"PATH": f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Servers:
    """At most one server at a time, each on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def start(self, command: str) -> None:
        self.stop()
        self.port = free_port()
        words = [*shlex.split(command), "--port", str(self.port)]
        self._child = subprocess.Popen(words, cwd=self._folder, env=environment(self._folder))
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._is_ready():
            assert self._child.poll() is None, f"ended by itself: {command}"
            assert time.monotonic() < deadline_s, f"not ready in time: {command}"
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}/v2/health/ready"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            assert self._child.wait(30) == 0
            self._child = None


def run_console(text: str, folder: Path) -> None:
    for command, shown in commands(text):
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment(folder),
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
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    assert result.returncode == 0, result.stderr
    for line, shown in zip(
        result.stdout.splitlines(), re.findall(r"print\(.*\)  # (.*)", text), strict=True
    ):
        assert line == shown


def execute(text: str, folder: Path, servers: Servers) -> None:
    """Every marked block, in order."""
    for block in blocks(text):
        body = re.sub(r"\b8000\b", str(servers.port), block.text)
        if block.mark == "serve":
            ((command, _),) = commands(block.text)
            servers.start(command)
        elif block.mark == "file":
            path = folder / block.argument
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.mark == "run" and block.language == "console":
            run_console(body, folder)
        elif block.mark == "run":
            assert block.language == "python"
            run_python(body, folder)
