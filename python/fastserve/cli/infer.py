"""fastserve infer: one request to any server that speaks KServe v2 over HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fastserve.cli import tensors
from fastserve.cli.arguments import HELP, Flag, UsageError, help_text, read
from fastserve.cli.exchange import Peer, RequestFailed
from fastserve.config.spelling import did_you_mean
from fastserve.config.units import format_duration_ns, parse_duration_ns

USAGE = "fastserve infer URL MODEL --input NAME=VALUE... [options]"
ABOUT = """\
Send one request to a server and print its answer. Datatypes come from the model's metadata.

URL is host:port or http://host:port; MODEL is a model's name. A VALUE is one of
  @file.npy   a numpy array, sent as raw bytes
  @file.json  a JSON array, nested as the tensor is, or a KServe tensor with "shape" and "data"
  [[1, 2]]    the same written out

With one input, the name may be left out: --input @image.npy.
"""
CLOSING = """\
examples:
  fastserve infer 127.0.0.1:8000 digits --input image=@image.npy
  fastserve infer 127.0.0.1:8000 add --input x=[[1,2]] --input y=[[3,4]] --output sum
  fastserve infer http://192.0.2.7:8000 digits --model-version 2 --input @image.json --json
"""
FLAGS = (
    Flag("input", "NAME=VALUE", "a tensor to send; once for each", repeats=True),
    Flag("output", "NAME", "print this output alone; may be repeated", repeats=True),
    Flag("model-version", "N", "of the model, or a label", default="the server's choice"),
    Flag("id", "TEXT", "the request's id"),
    Flag("json", "", "print the answer as one line of JSON", lambda text: text == "true"),
    Flag("timeout", "TIME", "for each of the two requests", parse_duration_ns, default="60s"),
    HELP,
)
_TIMEOUT_NS = 60 * 10**9


def main(given: Sequence[str]) -> int:
    arguments = read(given, FLAGS, {"version": "did you mean '--model-version'?"})
    if arguments.wants_help:
        print(help_text(USAGE, ABOUT, FLAGS, CLOSING), end="")
        return 0
    if len(arguments.operands) != 2:
        found = " ".join(arguments.operands) or "nothing"
        raise UsageError(f"expected URL MODEL, found {found}; usage: {USAGE}")
    url, model = arguments.operands
    options = arguments.values
    peer = Peer(url, timeout_s=options.get("timeout", _TIMEOUT_NS) / 1e9)
    try:
        return _infer(peer, model, options)
    except RequestFailed as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    finally:
        peer.close()


def _infer(peer: Peer, model: str, options: Mapping[str, Any]) -> int:
    path = peer.model_path(model, options.get("model-version", ""))
    metadata = peer.get_json(path)
    specs = {spec["name"]: spec for spec in metadata["inputs"]}
    encoded = [
        tensors.encode(name, value, specs[name])
        for name, value in _inputs(options.get("input", []), list(specs)).items()
    ]
    head: dict[str, Any] = {"inputs": [tensor.head for tensor in encoded]}
    if "id" in options:
        head["id"] = options["id"]
    names = [spec["name"] for spec in metadata["outputs"]]
    wanted = options.get("output", [])
    for name in wanted:
        if name not in names:
            guess = did_you_mean(name, names) or f"; it has {', '.join(names)}"
            raise UsageError(f"--output {name}: the model has no such output{guess}")
    # FP16 and BF16 cannot travel as JSON; for the others, JSON is what people want to see.
    is_binary = any(spec["datatype"] in tensors.BINARY_ONLY for spec in metadata["outputs"])
    if wanted:
        head["outputs"] = [{"name": name} for name in wanted]
    if is_binary:
        head["parameters"] = {"binary_data_output": True}
    tail = b"".join(tensor.raw for tensor in encoded)
    answer = peer.infer(f"{path}/infer", head, tail)
    _unpack(answer.head, answer.tail)
    if options.get("json"):
        print(json.dumps(answer.head))
        return 0
    _show(answer.head)
    print(f"  answered in {format_duration_ns(answer.took_ns)}")
    return 0


def _inputs(given: Sequence[str], names: list[str]) -> dict[str, str]:
    """The value of each input. Errors: UsageError for a name that the model does not have."""
    values: dict[str, str] = {}
    has = ", ".join(f"'{name}'" for name in names)
    if not given:
        raise UsageError(f"nothing to send: the model takes {has}; try --input {names[0]}=@x.json")
    for item in given:
        name, separator, value = item.partition("=")
        if not separator or name.startswith(("@", "[", "{")):
            if len(names) != 1:
                raise UsageError(f"--input {item}: expected NAME=VALUE, as the model takes {has}")
            name, value = names[0], item
        if name not in names:
            guess = did_you_mean(name, names) or f"; it takes {has}"
            raise UsageError(f"--input {name}: the model has no such input{guess}")
        if name in values:
            raise UsageError(f"--input {name}: given twice")
        values[name] = value
    return values


def _unpack(head: Mapping[str, Any], tail: bytes) -> None:
    """Put the raw tensors of the tail where JSON would have had them."""
    offset = 0
    for output in head.get("outputs", []):
        size = output.get("parameters", {}).pop("binary_data_size", None)
        if size is not None:
            output["data"] = tensors.decode(output["datatype"], tail[offset : offset + size])
            offset += size


def _show(head: Mapping[str, Any]) -> None:
    version = f" version {head['model_version']}" if head.get("model_version") else ""
    print(f"{head.get('model_name', '')}{version}")
    for output in head.get("outputs", []):
        print(f"  {output['name']} {output['datatype']} {output['shape']}")
        print(f"    {tensors.show(output.get('data', []), output['shape'])}")
