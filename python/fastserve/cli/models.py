"""fastserve models: what a running server serves, and changing it."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastserve.cli import models_view
from fastserve.cli.arguments import HELP, Flag, UsageError, help_text, read
from fastserve.cli.exchange import Peer, RequestFailed
from fastserve.cli.progress import Waiting
from fastserve.config.spelling import did_you_mean
from fastserve.config.units import parse_duration_ns

USAGE = "fastserve models COMMAND [NAME...] [options]"
ABOUT = """\
See and change what a running server serves.

  list [NAME...]              each version, its state, its labels, and why it is not served
  load NAME...                load models, or what is new or changed of them
  unload NAME...              stop serving models; what is in flight is answered
  label NAME LABEL=VERSION... move labels, all at once; LABEL= takes one away
  rollback NAME               back to the version before, until something newer comes
  watch [NAME...]             follow what changes, until Ctrl-C

`load` and `unload` need a server with --model-control explicit, `label` and `rollback` one with
explicit or poll. Clients ask for a label where they would name a version.
"""
CLOSING = """\
examples:
  fastserve models list
  fastserve models load digits --url 192.0.2.7:8000
  fastserve models load digits --config config.json --file 1/model.onnx=digits.onnx
  fastserve models label digits stable=3 canary=4 old=
  fastserve models rollback digits --to 2
"""
DEFAULT_URL = "127.0.0.1:8000"
_TIMEOUT_NS = 600 * 10**9
# The server answers sooner when something happens.
_WATCH_S = 25
FLAGS = (
    Flag("url", "URL", "of the server: host:port or http://host:port", default=DEFAULT_URL),
    Flag("json", "", "print JSON, for programs", lambda text: text == "true"),
    Flag("to", "VERSION", "with rollback: to this one", default="the one before"),
    Flag("config", "FILE", "with load: a config of the model, as JSON or config.pbtxt"),
    Flag("file", "VERSION/NAME=FILE", "with load and --config: a file of the model", repeats=True),
    Flag("dependents", "", "with unload: also models that were loaded for it", bool),
    Flag("timeout", "TIME", "for each answer; a load may take long", parse_duration_ns,
         default="10m"),
    HELP,
)  # fmt: skip
Options = Mapping[str, Any]


def main(given: Sequence[str]) -> int:
    arguments = read(given, FLAGS)
    if arguments.wants_help:
        print(help_text(USAGE, ABOUT, FLAGS, CLOSING), end="")
        return 0
    if not arguments.operands:
        raise UsageError(f"expected a command: {', '.join(COMMANDS)}; usage: {USAGE}")
    word, *names = arguments.operands
    if word not in COMMANDS:
        guess = did_you_mean(word, COMMANDS) or f"; expected {', '.join(COMMANDS)}"
        raise UsageError(f"unknown command 'models {word}'{guess}")
    options = arguments.values
    timeout_s = options.get("timeout", _TIMEOUT_NS) / 1e9
    peer = Peer(options.get("url", DEFAULT_URL), timeout_s=timeout_s)
    try:
        return COMMANDS[word](peer, names, options)
    except RequestFailed as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    finally:
        peer.close()


def _path(peer: Peer, name: str, word: str) -> str:
    return peer.at(f"/v2/repository/models/{quote(name, safe='')}/{word}")


def _index(peer: Peer, names: Sequence[str]) -> list[dict[str, Any]]:
    """Errors: RequestFailed for a name that the server does not know."""
    entries: list[dict[str, Any]] = peer.post_json(peer.at("/v2/repository/index"), {})
    known = {entry["name"] for entry in entries}
    for name in names:
        if name not in known:
            raise RequestFailed(f"there is no model '{name}'{did_you_mean(name, known)}")
    return [entry for entry in entries if not names or entry["name"] in names]


def _list(peer: Peer, names: Sequence[str], options: Options) -> int:
    entries = _index(peer, names)
    if options.get("json"):
        print(json.dumps(entries))
    else:
        print(models_view.table(entries), end="")
    return 0


def _load(peer: Peer, names: Sequence[str], options: Options) -> int:
    parameters = _inline(options)
    if parameters and len(names) > 1:
        raise UsageError("--config and --file are for one model")
    body = {"parameters": parameters} if parameters else {}
    return _each(peer, names, "load", body, options)


def _unload(peer: Peer, names: Sequence[str], options: Options) -> int:
    body = {"parameters": {"unload_dependents": bool(options.get("dependents"))}}
    return _each(peer, names, "unload", body, options)


def _each(peer: Peer, names: Sequence[str], word: str, body: Any, options: Options) -> int:
    """One after the other; one that fails does not stop the others."""
    if not names:
        raise UsageError(f"expected names of models: fastserve models {word} NAME...")
    failures = 0
    for name in names:
        try:
            with Waiting(f"{word}ing {name}"):
                peer.post_json(_path(peer, name, word), body)
        except RequestFailed as error:
            print(f"error: {error.message}", file=sys.stderr)
            failures += 1
    entries = [entry for entry in _index(peer, ()) if entry["name"] in names]
    print(json.dumps(entries) if options.get("json") else models_view.table(entries).rstrip())
    return 1 if failures else 0


def _inline(options: Options) -> dict[str, str]:
    """Errors: UsageError for a file that cannot be read."""
    parameters = {}
    if "config" in options:
        parameters["config"] = _config(Path(options["config"]))
    for given in options.get("file", []):
        place, has_file, path = given.partition("=")
        if not has_file:
            raise UsageError(f"--file {given}: expected VERSION/NAME=FILE, as 1/model.onnx=m.onnx")
        parameters[f"file:{place}"] = base64.b64encode(_read(Path(path))).decode()
    if "file" in options and "config" not in options:
        raise UsageError("--file needs a --config; {} in a file says nothing more than the model")
    return parameters


def _config(path: Path) -> str:
    """As JSON, which is what a request may hold."""
    text = _read(path).decode(errors="replace")
    if path.suffix != ".pbtxt":
        return text
    from google.protobuf import json_format  # Only for those who have such a file.

    from fastserve.config import pbtxt

    message, _ = pbtxt.parse(text, str(path))
    plain: str = json_format.MessageToJson(message, preserving_proto_field_name=True)
    return plain


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _label(peer: Peer, operands: Sequence[str], options: Options) -> int:
    if len(operands) < 2:
        raise UsageError("expected NAME LABEL=VERSION...: fastserve models label digits stable=3")
    name, *given = operands
    labels: dict[str, int | None] = {}
    for item in given:
        label, has_version, version = item.partition("=")
        if not has_version or not (version == "" or (version.isascii() and version.isdigit())):
            raise UsageError(f"{item}: expected LABEL=VERSION, or LABEL= to take it away")
        labels[label] = int(version) if version else None
    with Waiting(f"labelling {name}"):
        answer = peer.post_json(_path(peer, name, "labels"), {"labels": labels})
    if options.get("json"):
        print(json.dumps(answer))
    else:
        shown = ", ".join(f"{label}={number}" for label, number in sorted(answer["labels"].items()))
        print(f"{name}: {shown or 'no labels'}")
    return 0


def _rollback(peer: Peer, names: Sequence[str], options: Options) -> int:
    if len(names) != 1:
        raise UsageError("expected one NAME: fastserve models rollback NAME [--to VERSION]")
    body = {"version": options["to"]} if "to" in options else {}
    with Waiting(f"rolling back {names[0]}"):
        answer = peer.post_json(_path(peer, names[0], "rollback"), body)
    if options.get("json"):
        print(json.dumps(answer))
        return 0
    skipped = ", ".join(map(str, answer["skipped"]))
    until = f"; skipped until something newer comes: {skipped}" if skipped else ""
    print(f"{answer['name']}: version {answer['version']} is served{until}")
    return 0


def _watch(peer: Peer, names: Sequence[str], options: Options) -> int:
    _index(peer, names)
    path = peer.at("/v2/repository/events")
    last = peer.get_json(path)["last"]
    # The server must answer before this end gives up.
    wait_s = min(_WATCH_S, options.get("timeout", _TIMEOUT_NS) / 2e9)
    while True:
        answer = peer.get_json(f"{path}?after={last}&timeout={wait_s}")
        last = answer["last"]
        if answer.get("missed"):
            print("(something was missed: the server was started anew, or much has happened)",
                  file=sys.stderr)  # fmt: skip
        for event in answer["events"]:
            if not names or event["name"] in names:
                line = json.dumps(event) if options.get("json") else models_view.line(event)
                print(line, flush=True)


COMMANDS: dict[str, Callable[[Peer, Sequence[str], Options], int]] = {
    "list": _list,
    "load": _load,
    "unload": _unload,
    "label": _label,
    "rollback": _rollback,
    "watch": _watch,
}
