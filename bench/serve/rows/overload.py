"""Three times the load that a model can bear: what is still answered, how quickly the rest is
refused, and whether it is over when the load falls."""

from __future__ import annotations

from bench.serve import exchange, histogram, load, payload
from bench.serve.pairing import spread
from bench.serve.processes import Server
from bench.serve.report import Figure, Row
from bench.serve.rows.session import Session, require_echo

ELEMENTS = 16
RUN_US = 1000
# Half of the line's places are not one connection each: the open loop never runs out of them.
QUEUE_DEPTH = 32
CONNECTIONS = 256
DEADLINE_MS = 50
FACTOR = 3
GOODPUT_TARGET = 0.9
REFUSED_MS_TARGET = 2.0
AFTER_MS_TARGET = 5.0


def config_of(model: str) -> str:
    parameter = f'parameters {{ key: "delay_us" value {{ string_value: "{RUN_US}" }} }}\n'
    return payload.identity_config(model, ELEMENTS) + parameter


def run(session: Session) -> Row:
    row = Row("overload")
    model = "slow"
    repository = session.scratch / "repository_slow"
    payload.write_model(repository, model, config_of(model))
    data = payload.floats(ELEMENTS, seed=1)
    plain = payload.binary_request(model, "INPUT0", [ELEMENTS], data)
    hurried = payload.Request(
        plain.path, (*plain.headers, ("Inference-Timeout-Ms", str(DEADLINE_MS))), plain.body
    )
    with session.serve("overload", repository, "--queue-depth", str(QUEUE_DEPTH)) as server:
        require_echo(exchange.exchange(server.port, plain.encoded()), data)
        for label, request in (("queue full", plain), (f"deadline {DEADLINE_MS} ms", hurried)):
            row.figures += figures_of(session, server, label, request)
    return row


def figures_of(
    session: Session, server: Server, label: str, request: payload.Request
) -> list[Figure]:
    """Capacity, overload and what comes after it, in turn and several times."""
    goodput, refused, capacities = [], [], []
    pool: dict[int, int] = {}
    after: dict[int, int] = {}
    for round_index in range(session.pairs):
        capacity = load.run_wrk(server.port, request, 8, session.seconds, session.scratch).per_s
        seen = offered(session, server, request, FACTOR * capacity, round_index + 1)
        quiet = offered(session, server, request, 0.3 * capacity, round_index + 1)
        good = sum(seen.histogram.values())
        capacities.append(capacity)
        goodput.append(good / session.seconds / capacity)
        refused.append(sum(seen.refused.values()) / session.seconds)
        pool = histogram.merged([pool, seen.refused])
        after = histogram.merged([after, quiet.histogram])
    p99_ms = histogram.percentile_ns(pool, 99) / 1e6
    after_ms = histogram.percentile_ns(after, 50) / 1e6
    return [
        Figure.of(f"{label}: capacity", spread(capacities), "/s"),
        Figure.of(f"{label}: goodput at {FACTOR}x / capacity", spread(goodput), "", GOODPUT_TARGET),
        Figure.of(f"{label}: refused", spread(refused), "/s"),
        Figure(f"{label}: p99 to a refusal", p99_ms, "ms", REFUSED_MS_TARGET, "<="),
        Figure(f"{label}: p50 at 0.3x, right after", after_ms, "ms", AFTER_MS_TARGET, "<="),
    ]


def offered(
    session: Session, server: Server, request: payload.Request, rate_per_s: float, seed: int
) -> load.OpenLoop:
    return load.run_openloop(
        session.client, server.port, request, CONNECTIONS, rate_per_s, session.seconds, seed,
        session.scratch, may_refuse=True,
    )  # fmt: skip
