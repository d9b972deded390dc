"""fastserve: the command line. Each command is a module of its own, imported when it is called.

Exit status: 0 done; 1 it was tried and failed (no model loads, a check found something, a request
was refused); 2 it was not tried (a wrong option, a taken port, two models of one name).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence

from fastserve import __version__
from fastserve.cli.arguments import UsageError
from fastserve.config.spelling import did_you_mean
from fastserve.errors import Error

COMMANDS = {
    "run": "serve models",
    "check": "open models and say what would be served, or what is wrong",
    "infer": "send one request to a server and print its answer",
    "models": "list, load, unload, label and roll back the models of a running server",
    "doctor": "look at this machine, models or a running server for what would trouble it",
}
_SYNONYMS = {
    "serve": "run",
    "start": "run",
    "predict": "infer",
    "validate": "check",
    "diagnose": "doctor",
    "list": "models list",
    "ls": "models list",
    "load": "models load",
    "unload": "models unload",
    "rollback": "models rollback",
}
HELP = f"""\
usage: fastserve COMMAND ...

Serve machine-learning models over HTTP, in the KServe v2 protocol that Triton's clients speak.

commands:
{chr(10).join(f"  {name:<8}{about}" for name, about in COMMANDS.items())}

options:
  --version  print the version
  --help     this text; `fastserve COMMAND --help` explains a command

examples:
  fastserve run model.onnx
  fastserve check models/
  fastserve infer 127.0.0.1:8000 digits --input image=@image.npy
  fastserve models list
  fastserve doctor http://127.0.0.1:8000
"""


def main(given: Sequence[str] | None = None) -> int:
    """Run a command; the process's exit status."""
    arguments = list(sys.argv[1:] if given is None else given)
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
    except Error as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read us has left, as `| head` does. Python would complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        print(HELP, end="", file=sys.stderr)
        return 2
    command, rest = arguments[0], arguments[1:]
    if command in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if command in ("--version", "-V", "version"):
        print(f"fastserve {__version__}")
        return 0
    if command not in COMMANDS:
        raise UsageError(_unknown(command))
    module = importlib.import_module(f"fastserve.cli.{command}")
    execute: Callable[[list[str]], int] = module.main
    return execute(rest)


def _unknown(command: str) -> str:
    if os.path.exists(command):
        return f"unknown command '{command}'; to serve it: fastserve run {command}"
    if command in _SYNONYMS:
        return f"unknown command '{command}'; did you mean '{_SYNONYMS[command]}'?"
    guess = did_you_mean(command, (*COMMANDS, "--version", "--help"))
    kind = "option" if command.startswith("-") else "command"
    return f"unknown {kind} '{command}'{guess or '; fastserve --help lists the commands'}"
