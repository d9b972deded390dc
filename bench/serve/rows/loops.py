"""Two front ends that share a port, against one; the model runs on its instance's own thread."""

from __future__ import annotations

from contextlib import ExitStack

from bench.serve import exchange, payload
from bench.serve.pairing import paired_ratios, spread
from bench.serve.report import Figure, Row
from bench.serve.rows.session import Contestant, Session, require_echo

ELEMENTS = 16
CONNECTIONS = (1, 8, 64)
# With one connection only one loop ever works: it must not pay for the other.
ALONE_TARGET = 0.9
ONE, TWO = "loops_1", "loops_2"


def run(session: Session) -> Row:
    row = Row("loops")
    repository, model = session.identity_repository(ELEMENTS)
    data = payload.floats(ELEMENTS, seed=1)
    request = payload.binary_request(model, "INPUT0", [ELEMENTS], data)
    flags = ("--caller-runs", "never")
    with ExitStack() as stack:
        one = stack.enter_context(session.serve(ONE, repository, *flags))
        two = stack.enter_context(session.serve(TWO, repository, *flags, "--loops", "2"))
        require_echo(exchange.exchange(two.port, request.encoded()), data)
        contestants = [Contestant(server, lambda seen: require_echo(seen, data))
                       for server in (one, two)]  # fmt: skip
        for connections in CONNECTIONS:
            samples = session.closed_rounds(contestants, request, connections)
            row.runs += [run.plain() for runs in samples.values() for run in runs]
            wall = {name: [run.per_s for run in runs] for name, runs in samples.items()}
            cost = {name: [run.per_cpu_s for run in runs] for name, runs in samples.items()}
            target = ALONE_TARGET if connections == 1 else None
            row.figures += [
                *(Figure.of(f"c={connections} per second, {name}", spread(rates), "/s")
                  for name, rates in wall.items()),
                Figure.of(f"c={connections} per second, 2 / 1",
                          spread(paired_ratios(wall[TWO], wall[ONE])), "", target),
                Figure.of(f"c={connections} per CPU-s, 2 / 1",
                          spread(paired_ratios(cost[TWO], cost[ONE])), ""),
            ]  # fmt: skip
    row.notes.append("the client has a core of the two: more loops than one compete with it")
    return row
