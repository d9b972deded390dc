"""Identity fp32[16]: what a request costs when the model costs nothing."""

from __future__ import annotations

from contextlib import ExitStack

from bench.serve import exchange, payload
from bench.serve.pairing import paired_ratios, spread
from bench.serve.report import Figure, Row
from bench.serve.rows.session import (
    LOAD_SHARE,
    Contestant,
    Sample,
    Session,
    require,
    require_echo,
)

ELEMENTS = 16
INLINE_TARGET = 0.60
HOP_TARGET = 0.45
HOP_CONNECTIONS = (8, 64)
LIGHT, INLINE, HOP = "light", "fastserve", "fastserve_hop"


def figures_of(connections: int, samples: dict[str, list[Sample]]) -> list[Figure]:
    """Rates of all, and the ratio of each fastserve to the speed of light in the same round."""
    rates = {name: [run.per_cpu_s for run in runs] for name, runs in samples.items()}
    figures = [
        Figure.of(f"c={connections} per CPU-s, {name}", spread(values), "/s")
        for name, values in rates.items()
    ]
    for name, target in ((INLINE, INLINE_TARGET), (HOP, HOP_TARGET)):
        if name in rates:
            ratios = spread(paired_ratios(rates[name], rates[LIGHT]))
            figures.append(Figure.of(f"c={connections} {name} / light", ratios, "", target))
    return figures


def run(session: Session) -> Row:
    row = Row("small")
    repository, model = session.identity_repository(ELEMENTS)
    data = payload.floats(ELEMENTS, seed=1)
    request = payload.binary_request(model, "INPUT0", [ELEMENTS], data)
    with ExitStack() as stack:
        inline = stack.enter_context(session.serve(INLINE, repository))
        hop = stack.enter_context(session.serve(HOP, repository, "--caller-runs", "never"))
        answer = exchange.exchange(inline.port, request.encoded())
        require_echo(answer, data)
        constant = session.scratch / "constant.response"
        constant.write_bytes(answer.raw)
        light = stack.enter_context(session.reference(LIGHT, "constant", str(constant)))
        contestants = [
            Contestant(light, lambda seen: require(seen.raw == answer.raw, "not the constant")),
            Contestant(inline, lambda seen: require_echo(seen, data)),
            Contestant(hop, lambda seen: require_echo(seen, data)),
        ]
        for connections in (1, 8, 64):
            present = contestants if connections in HOP_CONNECTIONS else contestants[:2]
            samples = session.closed_rounds(present, request, connections)
            row.figures += figures_of(connections, samples)
            row.runs += [run.plain() for runs in samples.values() for run in runs]
            rate = spread([run.per_s for run in samples[INLINE]]).median * LOAD_SHARE
            rates = {contestant.name: rate for contestant in present}
            figures, runs, notes = session.latency(present, request, connections, rates)
            row.figures += figures
            row.runs += runs
            row.notes += notes
    return row
