"""Clients over shared memory that are killed in the middle of whatever they do.

    python -m tests.faults.shm_victims ADDRESS KILLS SEED

Each is a child of this process that connects anew and asks without end; it is killed at a random
instant of its first moments. Prints a line of JSON: how many were killed, and how many ended by
themselves, which none should.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time

import numpy as np

from fastserve.client.shm import CallError, ShmClient
from tests.faults.conftest import MODELS

AT_ONCE = 4
LIVES_S_MAX = 0.03
UNDER_WAY_MAX = 32


def ask_without_end(address: str, seed: int) -> None:
    """One request after the other, many at once, some that nobody waits for, some kept."""
    chance = random.Random(seed)
    kept: list[object] = []
    with ShmClient(address, segment_bytes=4 << 20) as client:
        while True:
            data = np.full((1, chance.choice((3, 3, 1000))), seed, np.float32)
            model = chance.choice(MODELS)
            if model == "engine":
                data = data[:, :3]
            requests = [
                client.request(model, shapes={"x": data.shape})
                for _ in range(chance.randint(1, UNDER_WAY_MAX))
            ]
            for request in requests:
                request.inputs["x"][:] = data
                request.send()
            for request in requests:
                if chance.random() < 0.2:
                    continue
                try:
                    kept.append(request.result())
                except CallError as error:
                    if error.code not in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"):
                        raise
            del kept[: max(0, len(kept) - 20)]


def begin(address: str, seed: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            ask_without_end(address, seed)
        except Exception as error:  # noqa: BLE001 Whatever it is, it is told.
            print(f"victim {seed}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    return child


def main(address: str, kills: str, seed: str) -> int:
    chance = random.Random(int(seed))
    left = int(kills)
    dying: list[tuple[float, int]] = []
    seen = {"killed": 0, "ended_by_themselves": 0}
    while left or dying:
        while left and len(dying) < AT_ONCE:
            dies_at_s = time.monotonic() + chance.uniform(0, LIVES_S_MAX)
            dying.append((dies_at_s, begin(address, int(seed) * 10_000 + left)))
            left -= 1
        dying.sort()
        dies_at_s, child = dying.pop(0)
        time.sleep(max(0.0, dies_at_s - time.monotonic()))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        seen["killed" if os.WIFSIGNALED(status) else "ended_by_themselves"] += 1
    print(json.dumps(seen), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
