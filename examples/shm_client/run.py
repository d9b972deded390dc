"""The digits, asked over shared memory: written where the server reads them.

    .venv/bin/python examples/shm_client/run.py

It starts a server, asks it, and stops it.
"""

import asyncio
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # Run as a file, this program sees its own folder alone.

from local_server import LocalServer  # noqa: E402

from fastserve.client.shm import AsyncShmClient, CallError, ShmClient  # noqa: E402

DIGITS = HERE.parent / "digits"
ROWS = 30  # Of one request; it divides the images.


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


def ask_in_place(client: ShmClient, images: np.ndarray, digits: np.ndarray) -> int:
    """One request whose memory is used again and again; how many were right."""
    right = 0
    with client.request("digits", ["label"], batch=ROWS) as request:
        for first in range(0, len(images), ROWS):
            rows = slice(first, first + ROWS)
            request.inputs["image"][:] = images[rows]  # In shared memory: the only copy.
            right += int((request.result()["label"] == digits[rows]).sum())
    return right


async def ask_at_once(address: int, images: np.ndarray, digits: np.ndarray) -> int:
    """All images at the same time, each in a request of its own."""
    async with AsyncShmClient(address, timeout=10) as client:
        calls = (client.infer("digits", {"image": [image]}, ["label"]) for image in images)
        results = await asyncio.gather(*calls)
    return sum(
        int(result["label"][0] == digit) for result, digit in zip(results, digits, strict=True)
    )


def main() -> None:
    images, digits = read_digits()
    with LocalServer(DIGITS / "digits.onnx") as server:
        with ShmClient(server.port, timeout=10) as client:
            client.wait_until_ready("digits")
            print(client.model_metadata("digits").inputs[0])
            right = ask_in_place(client, images, digits)
            print(f"{client}: {right} of {len(digits)} right")
            try:
                client.infer("digits", {"image": images[:1].astype(np.float64)})
            except CallError as error:
                print(f"another dtype: {error.code}: {error.message}")
        right = asyncio.run(ask_at_once(server.port, images, digits))
        print(f"asyncio: {right} of {len(digits)} right")


if __name__ == "__main__":
    main()
