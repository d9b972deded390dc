"""Mixed, hostile and overloaded traffic against one server for a long time: `make soak`.

Every minute is a cycle: mixed traffic over HTTP/1.1, HTTP/2 and gRPC with hostile clients and hot
swaps beside it, then three times of what the slow model can do, then quiet, in which what the
server holds is sampled. At the end nothing may be lost or wrong, nothing may have grown, and the
server must drain. The report goes to build/soak/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests import cores
from tests.served import Repository, Server
from tools.soak import watch
from tools.soak.callers import GAPS_S, Callers
from tools.soak.clients import Clients
from tools.soak.requests import SLOW_S, Requests, make_models
from tools.soak.versions import SWAP_GAP_S, Versions

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--queue-depth", "16", "--max-queue-delay", "1ms", "--model-control", "explicit",
    "--load-model", "*",
)  # fmt: skip
STEADY = 4
SESSION_REQUESTS = 20
SAMPLE_EVERY_S = 10.0
WARM_S, OVERLOAD_S, QUIET_S, CYCLE_S = 10.0, 15.0, 5.0, 60.0
OVERLOAD_CONNECTIONS, OVERLOAD_TIMES = 48, 3
GARBAGE_GAP_S, LEAVER_GAP_S, DAWDLER_GAP_S = 0.2, 0.3, 3.0


class Soak:
    def __init__(self, server: Server, models: Path, rate_per_s: float, seed: int) -> None:
        chance = random.Random(seed)
        self.clients = Clients(server.port, Requests(chance), chance)
        self.samples: list[watch.Sample] = []
        self.callers = Callers(server.port, self.clients.requests, self.clients.ledger, chance)
        self._server = server
        self.versions = Versions(server, models, self.clients.ledger)
        self._gap_s = STEADY / rate_per_s
        self._chance = chance
        self._awake = asyncio.Event()
        self._began_s = time.monotonic()
        self._busy = 0

    async def run(self, seconds: float) -> tuple[watch.Sample, watch.Sample]:
        """The samples of the idle server, after it is warm and in the end."""
        self.clients.replay([path.read_bytes() for path in corpus()])
        traffic = [
            *[asyncio.create_task(self._keep_on(self._steady, 0.0)) for _ in range(STEADY)],
            asyncio.create_task(self._keep_on(self.clients.garbage, GARBAGE_GAP_S)),
            asyncio.create_task(self._keep_on(self.clients.leaver, LEAVER_GAP_S)),
            asyncio.create_task(self._keep_on(self.clients.dawdler, DAWDLER_GAP_S)),
            asyncio.create_task(self._keep_on(self.versions.next, SWAP_GAP_S)),
            *[
                asyncio.create_task(self._keep_on(partial(kind, self.callers), gap_s))
                for kind, gap_s in GAPS_S.items()
            ],
        ]
        try:
            await self._mixed(min(WARM_S, seconds))
            first = await self._quiet()
            end_s = time.monotonic() + seconds
            while (left_s := end_s - time.monotonic()) > 0:
                cycle_s = min(CYCLE_S, left_s)
                overload_s = OVERLOAD_S * cycle_s / CYCLE_S
                await self._mixed(cycle_s - overload_s - QUIET_S)
                await self._overloaded(overload_s)
                last = await self._quiet()
                self._say()
        finally:
            for task in traffic:
                task.cancel()
            await asyncio.gather(*traffic, return_exceptions=True)
        return first, last

    async def _keep_on(self, once: Callable[[], Awaitable[None]], gap_s: float) -> None:
        while True:
            await self._awake.wait()
            self._busy += 1
            try:
                await once()
            finally:
                self._busy -= 1
            await asyncio.sleep(gap_s)

    async def _steady(self) -> None:
        asked = [self.clients.requests.any() for _ in range(SESSION_REQUESTS)]
        await self.clients.session(asked, pipelined=self._chance.random() < 0.2, gap_s=self._gap_s)

    async def _mixed(self, seconds: float) -> None:
        self._awake.set()
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            await asyncio.sleep(min(SAMPLE_EVERY_S, left_s))
            await self._sample(is_quiet=False)

    async def _overloaded(self, seconds: float) -> None:
        rate_per_s = OVERLOAD_TIMES / SLOW_S
        await self.clients.overload(seconds, rate_per_s, OVERLOAD_CONNECTIONS)
        await self._sample(is_quiet=False)

    async def _quiet(self) -> watch.Sample:
        """Sampled when everybody has gone and the refused ones have stopped to linger."""
        self._awake.clear()
        while self._busy:
            await asyncio.sleep(0.1)
        await asyncio.sleep(QUIET_S)
        return await self._sample(is_quiet=True)

    async def _sample(self, *, is_quiet: bool) -> watch.Sample:
        at_s = time.monotonic() - self._began_s
        taken = await asyncio.to_thread(watch.sample, self._server, at_s, is_quiet=is_quiet)
        self.samples.append(taken)
        cores.check()
        return taken

    def _say(self) -> None:
        ledger, now = self.clients.ledger, self.samples[-1]
        print(
            f"{now.at_s:7.0f} s  {sum(ledger.statuses.values()):8} answers, {ledger.right} right,"
            f" {len(ledger.lost)} lost, {len(ledger.wrong)} wrong;"
            f" RSS {now.rss_bytes / 1e6:.1f} MB, heap {now.heap_bytes / 1e6:.2f} MB,"
            f" {now.fds} fds, {now.threads} threads",
            flush=True,
        )


def corpus() -> list[Path]:
    """What can be sent as it is: the bytes of connections."""
    folder = ROOT / "tests" / "fuzz" / "corpus"
    return [path for name in ("http1", "gateway") for path in sorted((folder / name).iterdir())]


def report_of(soak: Soak, first: watch.Sample, last: watch.Sample) -> dict[str, Any]:
    ledger = soak.clients.ledger
    figures, problems = watch.judge(soak.samples, first, last)
    problems += [f"{len(ledger.lost)} requests lost"] if ledger.lost else []
    problems += [f"{len(ledger.wrong)} wrong answers"] if ledger.wrong else []
    return {
        "problems": problems,
        **figures,
        "answers": {str(status): count for status, count in sorted(ledger.statuses.items())},
        "right": ledger.right,
        "swaps": soak.versions.swaps,
        "clients": dict(ledger.kinds),
        "lost": [text for text in ledger.lost if text],
        "wrong": [text for text in ledger.wrong if text],
        "samples": [asdict(one) for one in soak.samples],
    }


def soak(seconds: float, rate_per_s: float, seed: int) -> dict[str, Any]:
    async def against(server: Server, models: Repository) -> dict[str, Any]:
        running = Soak(server, models.path, rate_per_s, seed)
        return report_of(running, *await running.run(seconds))

    with tempfile.TemporaryDirectory() as folder:
        models = Repository(Path(folder) / "models")
        make_models(models)
        with Server(models.path, *FLAGS) as server:
            report = asyncio.run(against(server, models))
            server.check_healthy()
            server.end()
            if "nothing was cut off" not in server.log_text():
                report["problems"].append("it did not drain")
            report["log"] = server.log_tail()
    cores.check()
    return report


def seconds_of(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 5m or 1h, found '{text}'")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, None: 60}[found[2]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duration", type=seconds_of, default=3600.0, help="90s, 5m or 1h")
    parser.add_argument("--rate", type=float, default=150.0, help="mixed requests a second")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--core-preset", choices=cores.PRESETS, help="see tests/cores.py")
    options = parser.parse_args()
    cores.choose(options.core_preset)
    print(f"seed {options.seed}", flush=True)
    problems = []
    report: dict[str, Any] = {}
    try:
        report = soak(options.duration, options.rate, options.seed)
        problems = report["problems"]
    except (AssertionError, cores.SanitizerReport) as error:
        problems = [str(error)]
    report |= {"problems": problems, "seed": options.seed, "core_preset": options.core_preset}
    folder = ROOT / "build" / "soak"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(report, indent=1))
    rss = report.get("rss_slope_mb_per_hour", "unknown")
    heap = report.get("heap_growth_mb", "unknown")
    print(f"RSS slope {rss} MB/h, heap growth {heap} MB; {path.relative_to(ROOT)}")
    for problem in problems:
        print(f"FAILED: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
