"""Hot swaps under traffic: is a request lost or answered by the wrong version, and does the swap
itself cost more than the load that comes with it?"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from bench.serve.report import Figure, Row
from bench.serve.rows.control import control, windows
from bench.serve.rows.control.answers import Retirement, failed, wrong
from bench.serve.rows.session import Session

SWAPS = 1000
WINDOW_S = 20.0
P50_TARGET, P99_TARGET = 1.05, 1.3
# A swap every so often, at most: a load comes with its own CPU, and the windows must have alike.
SWAP_GAP_S = 0.05


class Swapper:
    """Swaps, or only loads the same beside what is served."""

    def __init__(self, port: int, repository: control.Repository, files: Path) -> None:
        self._port = port
        self._repository = repository
        self._files = files
        self.version = 1
        self.swaps = 0
        self.retirements: list[Retirement] = []

    def swap(self, end: threading.Event) -> None:
        with control.Peer(self._port) as peer:
            while not end.wait(SWAP_GAP_S):
                new = self.version + 1
                self._repository.put("m", new, self._files / f"{new}.onnx")
                peer.load("m")
                self.retirements.append(Retirement(time.monotonic_ns(), new))
                self._repository.take_away("m", self.version)
                self.version = new
                self.swaps += 1

    def sham(self, end: threading.Event) -> None:
        """The same load, the same warm-up, and nothing that serves anybody is replaced."""
        number = 0
        with control.Peer(self._port) as peer:
            while not end.wait(SWAP_GAP_S):
                number += 1
                file = self._files / f"{self.version + 1}.onnx"
                self._repository.put("sham", number, file)
                peer.load("sham")
                peer.unload("sham", until_gone=False)
                self._repository.take_away("sham", number)


def run(session: Session) -> Row:
    row = Row("swap")
    swaps = min(SWAPS, 111 * session.pairs)  # A trial with fewer pairs is shorter.
    files = control.made_small(session, 3 * SWAPS)
    repository = control.Repository.fresh(session, "swap")
    repository.put("m", 1, files / "1.onnx")
    flags = ("--model-control", "explicit", "--load-model", "m")
    with session.serve("swap", repository.path, *flags) as server:
        swapper = Swapper(server.port, repository, files)
        request = control.request("m")
        seen = windows.Windows()
        while swapper.swaps < swaps:
            more = windows.alternate(
                session, server, request, swapper.swap, swapper.sham, windows=1, seconds=WINDOW_S
            )
            seen.with_it += more.with_it
            seen.without += more.without
    answers = [answer for window in (*seen.with_it, *seen.without) for answer in window]
    row.figures = [
        Figure("swaps", swapper.swaps, "", swaps),
        Figure("answers meanwhile", sum(map(len, seen.with_it)), ""),
        Figure("failed", failed(answers), "", 0, "<="),
        Figure("wrong, or of a retired version", wrong(answers, swapper.retirements), "", 0, "<="),
        *seen.ratios("swap / sham load", P50_TARGET, P99_TARGET),
    ]
    return row
