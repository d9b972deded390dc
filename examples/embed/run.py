"""Classify digits inside this program, then serve the same model over HTTP from it.

    .venv/bin/python examples/embed/run.py

The requests of both share one engine, its batches and its statistics.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import urllib.request
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fastserve

DIGITS = Path(__file__).resolve().parents[1] / "digits"


def held_out() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images (360, 8, 8) that the model has not seen, and what they show."""
    lines = [
        line.split()
        for line in (DIGITS / "heldout.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    images = [[int(ink, 17) for ink in pixels] for _, pixels in lines]
    labels = np.array([int(label) for label, _ in lines], np.int64)
    return np.array(images, np.float32).reshape(-1, 8, 8), labels


def in_process(model: fastserve.Model) -> None:
    """One call for many rows; the arrays are read where they lie."""
    images, labels = held_out()
    right = 0
    for start in range(0, len(images), model.max_batch):
        rows = slice(start, start + model.max_batch)
        right += int((model.infer({"image": images[rows]})["label"] == labels[rows]).sum())
    print(f"in process: {right} of {len(labels)} right")


async def awaited(model: fastserve.Model) -> None:
    """Many small calls at once: they share batches."""
    images, labels = held_out()
    before = model.stats()
    answers = await asyncio.gather(*(model.ainfer({"image": image[None]}) for image in images))
    found = np.concatenate([answer["label"] for answer in answers])
    right = int((found == labels).sum())
    runs = model.stats().executions - before.executions
    print(f"awaited, one by one: {right} of {len(labels)} right, in {runs} runs of the model")


def over_http(url: str) -> None:
    """The same model, asked as any client would."""
    body = (DIGITS / "request.json").read_bytes()
    with urllib.request.urlopen(f"{url}/v2/models/digits/infer", body) as response:
        outputs = {output["name"]: output["data"] for output in json.load(response)["outputs"]}
    print(f"over HTTP at {url}: somebody wrote a {outputs['label'][0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes any free one")
    parser.add_argument("--stay", action="store_true", help="serve until Enter is pressed")
    options = parser.parse_args()
    with fastserve.Server() as server:
        model = server.load(DIGITS / "digits.onnx")
        print(model)
        in_process(model)
        asyncio.run(awaited(model))
        with server.listen(port=options.port) as listener:
            over_http(listener.url)
            if options.stay:
                input(f"serving at {listener.url}; Enter ends it ")
        print(f"{model.stats().success} requests in all")


if __name__ == "__main__":
    main()
