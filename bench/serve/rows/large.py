"""Identity of 602,112 bytes: what moving a body costs, beside storing it and writing it once."""

from __future__ import annotations

from contextlib import ExitStack

from bench.serve import exchange, payload
from bench.serve.pairing import paired_ratios, spread
from bench.serve.report import Figure, Row
from bench.serve.rows.session import LOAD_SHARE, Contestant, Session, require_echo

ELEMENTS = 150_528
CONNECTIONS = 8
TARGET = 1.10
LIGHT, OURS = "light", "fastserve"


def run(session: Session) -> Row:
    row = Row("large")
    repository, model = session.identity_repository(ELEMENTS)
    data = payload.floats(ELEMENTS, seed=2)
    request = payload.binary_request(model, "INPUT0", [ELEMENTS], data)
    with ExitStack() as stack:
        ours = stack.enter_context(session.serve(OURS, repository))
        answer = exchange.exchange(ours.port, request.encoded())
        require_echo(answer, data)
        # Everything in front of the tensor, HTTP's head and the JSON, is the reference's constant.
        head = session.scratch / "stored.response"
        head.write_bytes(answer.raw[: len(answer.raw) - len(data)])
        arguments = [str(head), str(len(data))]
        light = stack.enter_context(session.reference(LIGHT, "stored", *arguments))
        contestants = [
            Contestant(light, lambda seen: require_echo(seen, data)),
            Contestant(ours, lambda seen: require_echo(seen, data)),
        ]
        samples = session.closed_rounds(contestants, request, CONNECTIONS)
        costs = {name: [run.cpu_us for run in runs] for name, runs in samples.items()}
        for name, values in costs.items():
            label = f"c={CONNECTIONS} CPU per request, {name}"
            row.figures.append(Figure.of(label, spread(values), "us"))
        ratios = spread(paired_ratios(costs[OURS], costs[LIGHT]))
        label = f"c={CONNECTIONS} CPU, fastserve / light"
        row.figures.append(Figure.of(label, ratios, "", TARGET, "<="))
        row.runs += [run.plain() for runs in samples.values() for run in runs]
        rate = spread([run.per_s for run in samples[OURS]]).median * LOAD_SHARE
        figures, runs, notes = session.latency(
            contestants, request, CONNECTIONS, {LIGHT: rate, OURS: rate}
        )
        row.figures += figures
        row.runs += runs
        row.notes += notes
    return row
