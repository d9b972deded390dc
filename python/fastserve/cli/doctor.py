"""fastserve doctor: what an operator wants to know before and when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from fastserve.cli.arguments import HELP, Flag, UsageError, help_text, read
from fastserve.cli.diagnosis.finding import Finding, fail, ok, worst
from fastserve.config.options import Options
from fastserve.config.settings import BY_KEY
from fastserve.config.units import format_bytes, parse_duration_ns
from fastserve.errors import Error

USAGE = "fastserve doctor [PATH...] [URL] [options]"
ABOUT = """\
Look at this machine and this installation, and say what would trouble a server, each with its
fix. Given paths, look at the models there as well. Given the URL of a running server, ask that
one instead: its health, the models it does not serve and why, and what its metrics point at.

Exit status: 0 if nothing failed (warnings may have been given), 1 if something did.
"""
CLOSING = """\
examples:
  fastserve doctor
  fastserve doctor models/ --max-connections 50000
  fastserve doctor http://127.0.0.1:8000
  fastserve doctor --json | jq '.findings[] | select(.level != "ok")'
"""
FLAGS = (
    Flag(
        "max-connections",
        "N",
        "as the server will be told",
        BY_KEY["max_connections"].parse,
        default=str(Options().connections_max),
    ),
    Flag(
        "max-in-flight",
        "SIZE",
        "as the server will be told",
        BY_KEY["max_in_flight"].parse,
        default=format_bytes(Options().in_flight_bytes_max),
    ),
    Flag("timeout", "TIME", "for each request to a server", parse_duration_ns, default="5s"),
    Flag("json", "", "print one object of JSON", lambda text: text == "true"),
    HELP,
)
_TIMEOUT_NS = 5 * 10**9


def main(given: Sequence[str]) -> int:
    arguments = read(given, FLAGS, {"url": "the URL is given without an option"})
    if arguments.wants_help:
        print(help_text(USAGE, ABOUT, FLAGS, CLOSING), end="")
        return 0
    urls = [text for text in arguments.operands if _is_url(text)]
    paths = [text for text in arguments.operands if not _is_url(text)]
    if len(urls) > 1:
        raise UsageError(f"expected one URL, found {' '.join(urls)}")
    values = arguments.values
    options = Options(
        connections_max=values.get("max-connections", Options().connections_max),
        in_flight_bytes_max=values.get("max-in-flight", Options().in_flight_bytes_max),
    )
    findings: list[Finding] = []
    for finding in _look(options, paths, urls, values.get("timeout", _TIMEOUT_NS) / 1e9):
        findings.append(finding)
        if not values.get("json"):
            print(finding.line(), flush=True)
    if values.get("json"):
        shown = {
            "status": worst(findings),
            "findings": [finding.to_json() for finding in findings],
        }
        print(json.dumps(shown))
    return 1 if worst(findings) == "fail" else 0


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _look(
    options: Options, paths: Sequence[str], urls: Sequence[str], timeout_s: float
) -> Iterator[Finding]:
    if urls:
        from fastserve.cli.diagnosis import running
        from fastserve.cli.exchange import Peer

        peer = Peer(urls[0], timeout_s=timeout_s)
        try:
            yield from running.findings(peer)
        finally:
            peer.close()
    else:
        from fastserve.cli.diagnosis import installation
        from fastserve.cli.diagnosis.machine import Machine

        yield from installation.findings()
        yield from Machine(options).findings()
    if paths:
        yield from _models(paths, options)


def _models(paths: Sequence[str], options: Options) -> Iterator[Finding]:
    from fastserve.cli.check import look
    from fastserve.control.loading.loader import Loader
    from fastserve.control.repository.model_repository import discover

    loader = Loader(options.model_defaults)
    try:
        sources = discover(paths)
    except Error as error:
        yield fail("models", error.message, "name an .onnx file or a repository")
        return
    for source in sources:
        for result in look(source, loader):
            if result.problem:
                yield fail("model", f"{result.shown_as}: {result.problem}", "see the README")
            elif result.served is not None:
                batching = result.served.batching
                yield ok("model", f"{result.shown_as}: {result.platform}, batching {batching}")
