"""Serve the digits model, show it reading a digit that it never saw, and leave it running.

    .venv/bin/python examples/digits/demo.py [--once] [--port N] [--row N]

Exit status: 0 when the prediction was right, 1 when it was wrong, 2 when there was no prediction.
"""

import argparse
import json
import os
import re
import signal
import statistics
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # Run as a file, this program sees its own folder alone.

from local_server import LocalServer, ServerError  # noqa: E402

INK_MAX = 16
TIMED_REQUESTS = 200
WARM_UP_REQUESTS = 20
BAR_COLUMNS = 30
RIGHT, WRONG, FAILED = 0, 1, 2


@dataclass(frozen=True)
class Digit:
    """One held-out image: 8x8 pixels, row by row, 0 to 16."""

    label: int
    pixels: Sequence[int]

    def json_request(self) -> bytes:
        tensor = {"name": "image", "datatype": "FP32", "shape": [1, 8, 8], "data": self.pixels}
        return json.dumps({"inputs": [tensor]}).encode()

    def binary_request(self) -> tuple[bytes, int]:
        """The body with raw tensors both ways, and the length of its JSON part."""
        raw = struct.pack(f"<{len(self.pixels)}f", *self.pixels)
        tensor = {
            "name": "image",
            "datatype": "FP32",
            "shape": [1, 8, 8],
            "parameters": {"binary_data_size": len(raw)},
        }
        head = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
        text = json.dumps(head).encode()
        return text + raw, len(text)


@dataclass(frozen=True)
class Style:
    """What the terminal can show."""

    blocks: bool  # Block characters, not only ASCII.
    colour: bool

    @classmethod
    def of(cls, out: TextIO) -> "Style":
        colour = out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        return cls("utf" in (out.encoding or "").lower(), colour)

    def pixel(self, ink: int) -> str:
        """Two columns, since a character is about twice as high as wide."""
        if self.colour:
            return f"\x1b[48;5;{232 + ink * 23 // INK_MAX}m  \x1b[0m"
        ramp = " ░▒▓█" if self.blocks else " .:-=+*#%@"
        return ramp[round(ink * (len(ramp) - 1) / INK_MAX)] * 2

    def bar(self, share: float) -> str:
        if not self.blocks:
            return ("#" * round(share * BAR_COLUMNS)).ljust(BAR_COLUMNS)
        eighths = round(share * BAR_COLUMNS * 8)
        return ("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8]).ljust(BAR_COLUMNS)[:BAR_COLUMNS]

    def strong(self, text: str) -> str:
        return f"\x1b[1;32m{text}\x1b[0m" if self.colour else text


def read_held_out() -> list[Digit]:
    lines = (HERE / "heldout.txt").read_text().splitlines()
    fields = [line.split() for line in lines if not line.startswith("#")]
    return [Digit(int(label), [int(ink, 17) for ink in pixels]) for label, pixels in fields]


def picture(digit: Digit, probabilities: Sequence[float], answer: int, style: Style) -> list[str]:
    """The image, framed, with the ten classes beside it: ten lines."""
    rows = [digit.pixels[i : i + 8] for i in range(0, 64, 8)]
    corners = "┌─┐│└┘" if style.blocks else "+-+|++"
    middle = [corners[3] + "".join(map(style.pixel, row)) + corners[3] for row in rows]
    top = corners[0] + corners[1] * 16 + corners[2]
    bottom = corners[4] + corners[1] * 16 + corners[5]
    lines = []
    for number, left in enumerate([top, *middle, bottom]):
        share = probabilities[number]
        right = f"{number}  {style.bar(share)} {share:7.2%}"
        lines.append(f"  {left}   {style.strong(right) if number == answer else right}")
    return lines


def median_ms(call: Callable[[], object]) -> float:
    """The median time of a call, of many in a row, after some that are not counted."""
    for _ in range(WARM_UP_REQUESTS):
        call()
    times_ns = []
    for _ in range(TIMED_REQUESTS):
        began_ns = time.perf_counter_ns()
        call()
        times_ns.append(time.perf_counter_ns() - began_ns)
    return statistics.median(times_ns) / 1e6


def show_prediction(server: LocalServer, digit: Digit, style: Style) -> bool:
    """Ask about the digit, draw it beside the answer; whether the answer was right."""
    _, body = server.post(
        server.infer_path, digit.json_request(), {"Content-Type": "application/json"}
    )
    outputs = {output["name"]: output["data"] for output in json.loads(body)["outputs"]}
    answer = outputs["label"][0]
    print("\n".join(picture(digit, outputs["probabilities"], answer, style)))
    verdict = "right" if answer == digit.label else "wrong"
    print(f"\n  Somebody wrote a {digit.label}. The model says {answer}: {verdict}.")
    return verdict == "right"


def show_timings(server: LocalServer, digit: Digit) -> None:
    json_body = digit.json_request()
    binary_body, head_bytes = digit.binary_request()
    binary_headers = {"Inference-Header-Content-Length": str(head_bytes)}
    json_ms = median_ms(lambda: server.post(server.infer_path, json_body))
    binary_ms = median_ms(lambda: server.post(server.infer_path, binary_body, binary_headers))
    print(f"  Round trip seen by this client, one at a time, median of {TIMED_REQUESTS}:")
    print(f"    JSON {json_ms:.3f} ms, binary tensors {binary_ms:.3f} ms")


def mean_ms(metrics: str, phase: str) -> float:
    """The mean of one of the server's duration histograms."""
    values = []
    for part in ("sum", "count"):
        pattern = rf'^fastserve_{phase}_duration_seconds_{part}{{model="digits",[^}}]*}} (\S+)$'
        found = re.search(pattern, metrics, re.MULTILINE)
        if found is None:
            raise ServerError(f"/metrics says nothing about the {phase} duration of digits")
        values.append(float(found[1]))
    return values[0] / values[1] * 1e3


def show_server_side(server: LocalServer) -> None:
    metrics = server.request("GET", "/metrics")[2].decode()
    whole_ms, model_ms = mean_ms(metrics, "request"), mean_ms(metrics, "run")
    print("  The server's own account of them, mean, from a request's last byte to its answer:")
    print(f"    {whole_ms:.3f} ms, of which the model took {model_ms:.3f} ms")


def show_commands(server: LocalServer) -> None:
    request = os.path.relpath(HERE / "request.json")
    url = server.url + server.infer_path
    print(f"""
  The server keeps running; Ctrl-C stops it. Ask it yourself, from another terminal:

curl -d @{request} {url}

  or in Python:

import json, urllib.request
body = open("{request}", "rb").read()
print(json.load(urllib.request.urlopen("{url}", body)))
""")


def run(options: argparse.Namespace) -> int:
    digit = read_held_out()[options.row]
    with LocalServer(HERE / "digits.onnx", port=options.port) as server:
        print(f"  fastserve serves digits.onnx at {server.url}, ready in {server.start_s:.2f} s\n")
        right = show_prediction(server, digit, Style.of(sys.stdout))
        show_timings(server, digit)
        show_server_side(server)
        if not options.once:
            show_commands(server)
            sys.stdout.flush()
            server.wait()
    return RIGHT if right else WRONG


def leave(*_: object) -> NoReturn:
    """As Ctrl-C does, so that the server is stopped on the way out."""
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--once", action="store_true", help="stop after the prediction")
    parser.add_argument("--port", type=int, help="default: the first free one from 8000")
    parser.add_argument(
        "--row",
        type=int,
        default=0,
        choices=range(360),
        metavar="0-359",
        help="which held-out digit",
    )
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        return run(options)
    except (ServerError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\n  stopped")
        return FAILED if options.once else RIGHT


if __name__ == "__main__":
    sys.exit(main())
