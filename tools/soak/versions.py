"""Versions that come and go while the soak's traffic goes on: swaps, loads and unloads, and now and
then a version that is broken."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from pathlib import Path

from tests.conformance import made
from tests.served import Server
from tools.soak.clients import Ledger

SWAPPED, COMING = "swapped", "coming"
SWAP_GAP_S = 1.0
BROKEN_EVERY = 10


class Versions:
    """Puts versions into the repository, has them loaded, and takes the old ones away."""

    def __init__(self, server: Server, repository: Path, ledger: Ledger) -> None:
        self._server = server
        self._repository = repository
        self._ledger = ledger
        self._numbers = itertools.count(2)
        self.swaps = 0

    async def next(self) -> None:
        await asyncio.to_thread(self._once, next(self._numbers))

    def _once(self, number: int) -> None:
        is_broken = number % BROKEN_EVERY == 0
        self._put(SWAPPED, number, b"no model" if is_broken else made.scaled(number))
        self._ask(SWAPPED, "load", works=not is_broken)
        if is_broken:
            shutil.rmtree(self._repository / SWAPPED / str(number))
        else:
            self.swaps += 1
            for child in (self._repository / SWAPPED).iterdir():
                if child.name not in (str(number), "config.pbtxt"):
                    shutil.rmtree(child)
        self._ask(COMING, "load" if number % 2 else "unload", works=True)

    def _put(self, model: str, version: int, content: bytes) -> None:
        hidden = self._repository / model / f".{version}"
        hidden.mkdir()
        (hidden / "model.onnx").write_bytes(content)
        hidden.rename(self._repository / model / str(version))

    def _ask(self, model: str, word: str, *, works: bool) -> None:
        answer = self._server.request("POST", f"/v2/repository/models/{model}/{word}", b"{}")
        if (answer.status == 200) != works:
            what = f"{word} of {model}: {answer.status} {json.dumps(answer.body.decode())}"
            self._ledger.remember(self._ledger.wrong, what)
