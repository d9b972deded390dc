"""`python -m bench.serve`: measures an installed fastserve and writes a result.

Exit status: 0 all targets met, 1 a target missed or a row refused, 2 nothing could be measured, 3
the machine was too busy to begin.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.serve import installation, load, machine, report
from bench.serve.processes import ServerError
from bench.serve.report import Row
from bench.serve.rows import (
    client,
    embed,
    large,
    loops,
    mlp,
    native,
    overload,
    poison,
    rpc,
    shared,
    small,
    start,
    text,
)
from bench.serve.rows.control import leak, many, neighbour, swap
from bench.serve.rows.session import Session, WrongAnswerError

ROOT = Path(__file__).resolve().parents[2]
ROWS: dict[str, Callable[[Session], Row]] = {
    "small": small.run,
    "rpc": rpc.run,
    "client": client.run,
    "large": large.run,
    "shared": shared.run,
    "native": native.run,
    "json": text.run,
    "mlp": mlp.run,
    "poison": poison.run,
    "start": start.run,
    "embed": embed.run,
    "loops": loops.run,
    "overload": overload.run,
    "swap": swap.run,
    "neighbour": neighbour.run,
    "leak": leak.run,
    "many": many.run,
}
REFUSALS = (
    installation.InstallationError,
    load.LoadError,
    ServerError,
    WrongAnswerError,
    OSError,
    KeyError,
    ValueError,
    subprocess.SubprocessError,
)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.serve")
    parser.add_argument("--only", default=",".join(ROWS), help="rows, separated by commas")
    parser.add_argument("--pairs", type=int, default=9, help="paired runs per figure")
    parser.add_argument("--seconds", type=int, default=2, help="length of one run")
    parser.add_argument("--force", action="store_true", help="report on a busy machine too")
    parser.add_argument("--no-result", action="store_true", help="print only, write no file")
    parser.add_argument("--executable", type=Path, help="try this command instead of dist/'s wheel")
    parsed = parser.parse_args(words)
    unknown = set(parsed.only.split(",")) - set(ROWS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    if parsed.pairs < 1 or parsed.seconds < 1:
        parser.error("--pairs and --seconds must be at least 1")
    return parsed


def session_of(parsed: argparse.Namespace) -> Session:
    scratch = ROOT / "build" / "bench-serve"
    scratch.mkdir(parents=True, exist_ok=True)
    installed = installation.prepared(ROOT, with_wheel=parsed.executable is None)
    executable: Path | None = parsed.executable or installed.fastserve
    if executable is None:
        raise installation.InstallationError("the wheel brought no `fastserve` command")
    return Session(
        root=ROOT,
        installation=installed,
        executable=executable.resolve(),
        client=load.built_client(scratch),
        scratch=scratch,
        pairs=parsed.pairs,
        seconds=parsed.seconds,
    )


def measured(session: Session, name: str, *, force: bool) -> Row:
    """One row, or its refusal: strangers had too much of the machine, or an answer was wrong."""
    print(f"measuring {name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    watch = machine.LoadWatch.start()
    try:
        row = ROWS[name](session)
        foreign, stolen = watch.shares()
        machine.require_quiet(foreign, force=force)
    except (*REFUSALS, machine.BusyMachineError) as error:
        row, (foreign, stolen) = Row.refusal(name, _sentence(error)), watch.shares()
    row.foreign_share, row.stolen_share = foreign, stolen
    if not row.refused and foreign > machine.FOREIGN_SHARE_MAX:
        row.notes.append(f"forced: other processes took {foreign:.0%} of the machine")
    print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return row


def _sentence(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def required_quiet_now(*, force: bool) -> None:
    watch = machine.LoadWatch.start()
    time.sleep(2)
    machine.require_quiet(watch.shares()[0], force=force)


def result_of(session: Session, rows: Sequence[Row], parsed: argparse.Namespace) -> Path:
    now = datetime.datetime.now(datetime.UTC)
    facts = machine.facts()
    commit = machine.commit(ROOT)
    content = report.document(
        rows,
        commit=commit,
        utc=now.isoformat(timespec="seconds"),
        machine=facts,
        installation=session.installation.facts,
        settings={
            "pairs": session.pairs,
            "seconds": session.seconds,
            "forced": parsed.force,
            "only": parsed.only,
        },
    )
    name = machine.result_name(
        commit, str(facts["cpu"]), str(facts["gpu"]), str(facts["governor"]), now
    )
    path = ROOT / "bench" / "results" / name
    report.write(path, content)
    return path


def main(words: Sequence[str]) -> int:
    parsed = arguments(words)
    try:
        session = session_of(parsed)
        required_quiet_now(force=parsed.force)
    except machine.BusyMachineError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 3
    except REFUSALS as error:
        print(f"nothing is measured: {_sentence(error)}", file=sys.stderr)
        return 2
    rows = [measured(session, name, force=parsed.force) for name in parsed.only.split(",")]
    print(report.table(rows))
    for row in rows:
        for note in row.notes:
            print(f"\nNote ({row.name}): {note}")
    if parsed.executable is not None:
        print("\nNot an installed wheel: no result is written.")
    elif not parsed.no_result:
        print(f"\n{result_of(session, rows, parsed).relative_to(ROOT)}")
    return 1 if report.missed(rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
