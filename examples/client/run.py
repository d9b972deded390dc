"""The digits, asked over HTTP and over gRPC by fastserve's own client.

    .venv/bin/python examples/client/run.py

It starts a server, asks it, and stops it.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # Run as a file, this program sees its own folder alone.

from local_server import HOST, LocalServer  # noqa: E402

from fastserve.client import CallError, Client  # noqa: E402

DIGITS = HERE.parent / "digits"
ROWS_MAX = 32  # Of one request.


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images, FP32 of shape [n, 8, 8], and what they show."""
    lines = [
        line.split()
        for line in (DIGITS / "heldout.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    pixels = [[int(pixel, 17) for pixel in text] for _, text in lines]
    images = np.array(pixels, np.float32).reshape(-1, 8, 8)
    return images, np.array([int(digit) for digit, _ in lines])


def ask(url: str, images: np.ndarray, digits: np.ndarray) -> None:
    with Client(url, timeout=10) as client:
        client.wait_until_ready("digits")
        print(client.model_metadata("digits").inputs[0])
        right = 0
        for first in range(0, len(images), ROWS_MAX):
            rows = slice(first, first + ROWS_MAX)
            result = client.infer("digits", {"image": images[rows]}, ["label"])
            right += int((result["label"] == digits[rows]).sum())
        print(f"{url}: {right} of {len(digits)} right, says version {result.version}")
        try:
            client.infer("digits", {"image": images[:1].astype(np.float64)})
        except CallError as error:
            print(f"another dtype: {error.code}: {error.message}")


def main() -> None:
    images, digits = read_digits()
    with LocalServer(DIGITS / "digits.onnx") as server:
        for scheme in ("http", "grpc"):
            ask(f"{scheme}://{HOST}:{server.port}", images, digits)


if __name__ == "__main__":
    main()
