"""Alternating windows of open-loop traffic, with something or something else going on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

from bench.serve import load
from bench.serve.pairing import paired_ratios, spread
from bench.serve.payload import Request
from bench.serve.processes import Server
from bench.serve.report import Figure
from bench.serve.rows.control.answers import Answer, measured, percentile, read
from bench.serve.rows.session import LOAD_SHARE, Session

CONNECTIONS = 8
# What goes on in a window goes on until it is told to end.
Meanwhile = Callable[[threading.Event], None]


@dataclass
class Windows:
    """The answers of windows of two kinds, in turn."""

    with_it: list[list[Answer]] = field(default_factory=list)
    without: list[list[Answer]] = field(default_factory=list)

    def ratios(self, what: str, p50_target: float, p99_target: float) -> list[Figure]:
        """By what the server measured of each request, and what the client saw of it."""
        figures = []
        for name, of in (("server", _server_us), ("client", _client_us)):
            mine = [[of(answer) for answer in measured(window)] for window in self.with_it]
            other = [[of(answer) for answer in measured(window)] for window in self.without]
            p50 = spread(
                paired_ratios([percentile(w, 50) for w in mine], [percentile(w, 50) for w in other])
            )
            pooled = percentile([*chain(*mine)], 99) / percentile([*chain(*other)], 99)
            is_judged = name == "server"
            figures += [
                Figure.of(f"p50 at the {name}, {what}", p50, "",
                          p50_target if is_judged else None, "<="),
                Figure(f"p99 at the {name}, pooled, {what}", pooled, "",
                       p99_target if is_judged else None, "<="),
            ]  # fmt: skip
        return figures


def _server_us(answer: Answer) -> float:
    return max(answer.server_us, 1)


def _client_us(answer: Answer) -> float:
    return answer.latency_ns / 1e3


def rate_of(session: Session, server: Server, request: Request) -> float:
    """30 % of what a closed loop reaches."""
    closed = load.run_wrk(server.port, request, CONNECTIONS, session.seconds, session.scratch)
    return LOAD_SHARE * closed.per_s


def alternate(
    session: Session,
    server: Server,
    request: Request,
    with_it: Meanwhile,
    without: Meanwhile,
    *,
    windows: int,
    seconds: float,
) -> Windows:
    """`windows` of each kind; which comes first alternates."""
    rate_per_s = rate_of(session, server, request)
    seen = Windows()
    for number in range(windows):
        kinds = [(with_it, seen.with_it), (without, seen.without)]
        for meanwhile, answers in kinds if number % 2 == 0 else kinds[::-1]:
            answers.append(
                _window(session, server, request, rate_per_s, seconds, number + 1, meanwhile)
            )
    return seen


def _window(
    session: Session,
    server: Server,
    request: Request,
    rate_per_s: float,
    seconds: float,
    seed: int,
    meanwhile: Meanwhile,
) -> list[Answer]:
    end = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            meanwhile(end)
        except BaseException as error:  # noqa: BLE001 It is raised where the window ends.
            failures.append(error)

    beside = threading.Thread(target=work)
    file = session.scratch / "answers.txt"
    beside.start()
    try:
        load.run_openloop(
            session.client, server.port, request, CONNECTIONS, rate_per_s, seconds, seed,
            session.scratch, may_refuse=True, answers=file,
        )  # fmt: skip
    finally:
        end.set()
        beside.join()
    if failures:
        raise failures[0]
    return read(file)
