"""Serve Magika, a model of 3 MB that tells file types from bytes, and ask it about files.

    .venv/bin/pip install magika
    .venv/bin/python examples/magika/run.py [FILE...]

Without a FILE it asks about a few whose types are known. Exit status: 0 when every known type was
told right (or files were named), 1 when one was not, 2 when there was no answer.
"""

import argparse
import importlib.util
import json
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # Run as a file, this program sees its own folder alone.

from local_server import LocalServer, ServerError  # noqa: E402

RIGHT, WRONG, FAILED = 0, 1, 2


class Magika:
    """The model inside the installed `magika` package, which is found but not imported."""

    def __init__(self) -> None:
        package = importlib.util.find_spec("magika")
        if package is None or package.origin is None:
            raise ServerError("the magika package is not here: .venv/bin/pip install magika")
        (self.path,) = Path(package.origin).parent.glob("models/*/model.onnx")
        config = json.loads(self.path.with_name("config.min.json").read_text())
        self.labels: list[str] = config["target_labels_space"]
        self._edge_bytes: int = config["beg_size"]
        self._block_bytes: int = config["block_size"]
        self._padding: int = config["padding_token"]

    def features(self, content: bytes) -> list[int]:
        """The first and the last 1024 bytes after white space is cut off; 256 is no byte."""
        first = content[: self._block_bytes].lstrip()[: self._edge_bytes]
        last = content[-self._block_bytes :].rstrip()[-self._edge_bytes :]
        return [
            *first,
            *[self._padding] * (self._edge_bytes - len(first)),
            *[self._padding] * (self._edge_bytes - len(last)),
            *last,
        ]


def classify(
    server: LocalServer, magika: Magika, contents: Sequence[bytes]
) -> list[tuple[str, float]]:
    """The label and its probability for each content: one request, raw tensors both ways."""
    rows = [magika.features(content) for content in contents]
    raw = b"".join(struct.pack(f"<{len(row)}i", *row) for row in rows)
    tensor = {
        "name": "bytes",
        "datatype": "INT32",
        "shape": [len(rows), len(rows[0])],
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers, answer = server.post(
        server.infer_path, head + raw, {"Inference-Header-Content-Length": str(len(head))}
    )
    tail = answer[int(headers["Inference-Header-Content-Length"]) :]
    scores = struct.iter_unpack(f"<{len(magika.labels)}f", tail)
    best = [max(zip(row, magika.labels, strict=True)) for row in scores]
    return [(label, score) for score, label in best]


def tiny_png() -> bytes:
    """A grey square of 16x16."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    size = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(range(0, 256, 16)) for _ in range(16))
    parts = (chunk(b"IHDR", size), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def known_files() -> list[tuple[str, bytes, str]]:
    """Name, content and true type."""
    top = HERE.parents[1]
    types = {
        "examples/magika/run.py": "python",
        "csrc/tensor/tensor.cc": "cpp",
        "CMakeLists.txt": "cmake",
        "examples/digits/README.md": "markdown",
        "examples/digits/digits.onnx": "onnx",
    }
    files = [(path, (top / path).read_bytes(), kind) for path, kind in types.items()]
    return [*files, ("a square drawn here", tiny_png(), "png")]


def run(paths: Sequence[Path], port: int | None) -> int:
    magika = Magika()
    files = [(str(path), path.read_bytes(), None) for path in paths] or known_files()
    with LocalServer(magika.path, name="magika", port=port) as server:
        print(f"fastserve serves {server.name} at {server.url}\n")
        answers = classify(server, magika, [content for _, content, _ in files])
    wrong = 0
    for (name, _, truth), (label, score) in zip(files, answers, strict=True):
        remark = "" if truth in (None, label) else f"  wrong: it is {truth}"
        wrong += bool(remark)
        print(f"  {name:28} {label:12} {score:7.2%}{remark}")
    return WRONG if wrong else RIGHT


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="*", metavar="FILE")
    parser.add_argument("--port", type=int, help="default: the first free one from 8000")
    options = parser.parse_args()
    try:
        return run(options.files, options.port)
    except (ServerError, OSError) as error:
        print(f"run: {error}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
