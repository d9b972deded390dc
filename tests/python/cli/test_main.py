"""fastserve itself: commands, help, version, and where errors go."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fastserve import __version__
from fastserve.cli import check, infer, main, run
from fastserve.config.options import Options
from fastserve.config.settings import SETTINGS


def called(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, str, str]:
    status = main.main(given)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_version_is_told(capsys):
    assert called(capsys, "--version") == (0, f"fastserve {__version__}\n", "")


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_lists_the_commands(capsys, word):
    status, out, err = called(capsys, word)
    assert (status, err) == (0, "")
    for command in main.COMMANDS:
        assert f"  {command} " in out


def test_without_a_command_help_goes_to_stderr(capsys):
    status, out, err = called(capsys)
    assert (status, out) == (2, "")
    assert err == main.HELP


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("rum", "unknown command 'rum'; did you mean 'run'?"),
        ("serve", "unknown command 'serve'; did you mean 'run'?"),
        ("--verson", "unknown option '--verson'; did you mean '--version'?"),
        ("zzz", "unknown command 'zzz'; fastserve --help lists the commands"),
    ],
)
def test_an_unknown_command_is_told_with_a_guess(capsys, word, message):
    assert called(capsys, word) == (2, "", f"error: {message}\n")


def test_a_path_instead_of_a_command_is_told_what_to_type(capsys, tmp_path):
    status, _, err = called(capsys, str(tmp_path))
    assert status == 2
    assert err.endswith(f"to serve it: fastserve run {tmp_path}\n")


@pytest.mark.parametrize("command", ["run", "check", "infer"])
def test_each_command_explains_itself(capsys, command):
    status, out, err = called(capsys, command, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: fastserve {command} ")
    assert "examples:" in out
    assert all(len(line) <= 100 for line in out.splitlines())


# The table of settings is the truth: nothing is left out, and each default is the real one.
def test_run_has_every_setting_with_its_default(capsys):
    _, out, _ = called(capsys, "run", "--help")
    for setting in SETTINGS:
        assert f"  --{setting.flag}" in out
    flags = {flag.name: flag for flag in run.all_flags()}
    for setting in SETTINGS:
        default = flags[setting.flag].default
        if default:
            assert setting.parse(default) == getattr(Options(), setting.field), setting.flag


def test_what_other_servers_call_it_is_never_an_option_of_ours():
    names = {flag.name for flag in run.all_flags()}
    assert not names & set(run.SYNONYMS)
    assert all(meant.split()[0] in main.COMMANDS for meant in main._SYNONYMS.values())


@pytest.mark.parametrize("module", [run, check, infer])
def test_a_missing_argument_is_one_line(capsys, module):
    name = module.__name__.rpartition(".")[2]
    status, out, err = called(capsys, name)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


# Help must be there before the core is built, and must not wait for what serving needs.
def test_help_loads_neither_the_core_nor_the_event_loop():
    script = (
        "import sys\n"
        "from fastserve.cli.main import main\n"
        "assert main(['run', '--help']) == 0\n"
        "heavy = {'fastserve._core', 'asyncio', 'uvloop', 'numpy', 'google.protobuf',"
        " 'prometheus_client', 'argparse', 'http.client'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# What starting a server imports; each of these would cost more than all of the control plane.
def test_starting_imports_nothing_that_is_not_needed_to_serve():
    script = (
        "import sys\n"
        "import fastserve.cli.run, fastserve.server.app\n"
        "heavy = {'numpy', 'onnxruntime', 'google.protobuf', 'prometheus_client', 'argparse',"
        " 'http.server', 'http.client', 'email', 'tomllib', 'difflib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_is_no_error():
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m fastserve run --help | true"],
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
