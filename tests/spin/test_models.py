"""Every interleaving of the protocols that must lose nothing, by the model checker Spin.

A model that cannot fail proves nothing: each is also searched with one thing broken, and Spin must
find it. And a model that the code has left behind proves nothing of the code: each transition
carries the SYNC labels of what it stands for, and the labels are compared both ways.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tidy import sync_labels, tree

FOLDER = Path(__file__).parent
TIMEOUT_S = 300
DEPTH_MAX = 100_000
ONE_THREAD = ("CALLERS=2", "THREADS=1", "REHEARSERS=0", "NEVER=3")
TWO_THREADS = ("CALLERS=2", "THREADS=2", "REHEARSERS=0", "NEVER=1")
TWO_THREADS_IN_TIME = ("CALLERS=1", "THREADS=2", "REHEARSERS=0", "NEVER=3")
SLEEPS = ("SLEEPER=1", "WATCHER=0")
WATCHES = ("SLEEPER=0", "WATCHER=1")
SLEEPS_AND_WATCHES = ("SLEEPER=1", "WATCHER=1")
REHEARSAL = ("CALLERS=2", "THREADS=1", "REHEARSERS=1", "NEVER=1")

# Each model's worlds, in which nothing may be wrong.
WORLDS: dict[str, list[tuple[str, ...]]] = {
    "signal": [()],
    "channel": [SLEEPS, WATCHES, SLEEPS_AND_WATCHES],
    "completion_queue": [()],
    "mpsc_queue": [()],
    "scheduler": [ONE_THREAD, TWO_THREADS, TWO_THREADS_IN_TIME, REHEARSAL],
}

# What is broken on purpose: the world in which that must be found.
BROKEN: dict[str, dict[str, tuple[str, ...]]] = {
    "signal": {"LOOKS_BEFORE_PREPARE": (), "NO_EPOCH": (), "WAKES_ONE": (), "TORN_FUTEX": ()},
    "channel": {
        "LOOKS_BEFORE_PREPARE": SLEEPS,
        "LOOKS_BEFORE_WATCH": WATCHES,
        "RINGS_FIRST": SLEEPS,
        "PUBLISHES_FIRST": SLEEPS,
        "FREES_FIRST": SLEEPS,
        "NO_COUNT": SLEEPS,
        "WITHDRAWS_BOTH": SLEEPS_AND_WATCHES,
        "DRAINS_LAST": WATCHES,
    },
    "completion_queue": {"TAKES_FIRST": (), "SIGNALS_FIRST": (), "SCOPE_ONLY": ()},
    "mpsc_queue": {"PLACE_FIRST": (), "PUBLISHES_FIRST": (), "ONE_SEQUENCE": ()},
    "scheduler": {
        "GIVES_BACK_BLINDLY": ONE_THREAD,
        "RUNS_UNTIL_BLINDLY": ONE_THREAD,
        "REHEARSES_BLINDLY": REHEARSAL,
        "KEEPS_QUIET": ONE_THREAD,
        "STAYS_ARMED": ONE_THREAD,
        "SLEEPS_BLINDLY": ONE_THREAD,
        "WAITS_ALONE": ONE_THREAD,
    },
}

# The code whose labels must be in a model, and those that are shown otherwise.
MODELLED = ("csrc/sync/", "csrc/serving/scheduling/", "csrc/gateway/completion_queue.")
SHOWN_OTHERWISE = {
    "instance-asleep": "a flag that is set once before a Signal, which is the use that signal.pml "
    "shows; instance_thread_test.cc starts threads under ThreadSanitizer",
    "range-left": "each range is one word; range_table_test.cc shows it in seeded interleavings, "
    "and bus_error_guard_test.cc under ThreadSanitizer with faults in several threads",
    "range-marked": "as range-left",
    "range-order": "as range-left",
    "request-cancelled": "a hint to sweep, set behind a flag of the request itself; what it skips "
    "ends when it comes to the front: scheduler_sweep_test.cc, and tests/sim, where clients leave",
}


@dataclass(frozen=True)
class Search:
    """The search of one model in one world."""

    model: str
    defines: tuple[str, ...]
    folder: Path
    effort: str = "-O1"  # Of the compiler, whose time is most of a short search.

    def errors(self) -> int:
        """How many are found: 0, or 1, since the first one ends it."""
        made = run([*self.spin(), "-a", self.source], self.folder)
        assert "Error" not in made, made
        run(["gcc", self.effort, "-w", "-DSAFETY", "-o", "pan", "pan.c"], self.folder)
        report = run(["./pan", "-n", f"-m{DEPTH_MAX}"], self.folder)
        assert "max search depth too small" not in report, report
        found = re.search(r"errors: (\d+)", report)
        assert found, report
        return int(found[1])

    def trail(self) -> str:
        """The steps that lead to the error."""
        return run([*self.spin(), "-t", "-p", "-g", self.source], self.folder, status_max=255)

    @property
    def source(self) -> str:
        return str(FOLDER / f"{self.model}.pml")

    def spin(self) -> list[str]:
        return ["spin", *(f"-D{define}" for define in self.defines)]


def run(command: list[str], folder: Path, status_max: int = 0) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode <= status_max, done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("model", "world"), [(model, world) for model, worlds in WORLDS.items() for world in worlds]
)
def test_nothing_is_lost_in_any_interleaving(model, world, tmp_path):
    search = Search(model, world, tmp_path)
    assert search.errors() == 0, search.trail()


@pytest.mark.parametrize(
    ("model", "fault"), [(model, fault) for model, faults in BROKEN.items() for fault in faults]
)
def test_what_is_broken_is_found(model, fault, tmp_path):
    search = Search(model, (*BROKEN[model][fault], fault), tmp_path, "-O0")
    assert search.errors() > 0, f"{model}.pml passes with {fault}"


def test_every_model_is_searched_and_every_fault_tried():
    assert {path.stem for path in FOLDER.glob("*.pml")} == WORLDS.keys() == BROKEN.keys()
    for model, faults in BROKEN.items():
        text = (FOLDER / f"{model}.pml").read_text()
        named = re.findall(r"^ \*   ([A-Z_]{5,}) ", text, re.MULTILINE)
        used = re.findall(
            r"^#ifn?def (?!CALLERS|THREADS|REHEARSERS|NEVER)(\w+)", text, re.MULTILINE
        )
        assert set(named) == set(used) == faults.keys()


def labels_of_the_code() -> set[str]:
    return {
        match[1]
        for source in tree.sources(tree.CPP_SUFFIXES, "csrc")
        if str(source.path).startswith(MODELLED)
        for match in sync_labels.LABEL.finditer(source.text)
    }


def labels_of_the_models() -> set[str]:
    texts = [path.read_text() for path in FOLDER.glob("*.pml")]
    return {label for text in texts for label in re.findall(r"\bSYNC\(([\w-]+)\)", text)}


def test_every_label_of_a_model_is_in_the_code():
    assert labels_of_the_models() <= labels_of_the_code()


def test_every_label_of_the_code_is_in_a_model_or_shown_otherwise():
    assert labels_of_the_code() == labels_of_the_models() | SHOWN_OTHERWISE.keys()
    assert not labels_of_the_models() & SHOWN_OTHERWISE.keys()
