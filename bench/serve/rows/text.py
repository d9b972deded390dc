"""JSON: 10,000 floats in and out as text, beside json.loads + numpy + json.dumps in FastAPI."""

from __future__ import annotations

import array
import json
from contextlib import ExitStack

from bench.serve import payload
from bench.serve.exchange import Response
from bench.serve.pairing import paired_ratios, spread
from bench.serve.report import Figure, Row
from bench.serve.rows.session import LOAD_SHARE, Contestant, Session, require

ELEMENTS = 10_000
CONNECTIONS = 8
TARGET = 15.0
RIVAL, OURS = "fastapi", "fastserve"


def require_same_floats(response: Response, data: bytes) -> None:
    """The answer's text must read back as exactly the fp32 values that were sent."""
    require(response.status == 200, f"status {response.status}: {response.body[:300]!r}")
    values = json.loads(response.body)["outputs"][0]["data"]
    require(array.array("f", values).tobytes() == data, "the answer's floats are not those sent")


def run(session: Session) -> Row:
    row = Row("json")
    repository, model = session.identity_repository(ELEMENTS)
    data = payload.floats(ELEMENTS, seed=3)
    request = payload.json_request(model, "INPUT0", [ELEMENTS], data)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(session.reference(RIVAL, "fastapi_json")),
            stack.enter_context(session.serve(OURS, repository)),
        ]
        contestants = [
            Contestant(server, lambda seen: require_same_floats(seen, data)) for server in servers
        ]
        samples = session.closed_rounds(contestants, request, CONNECTIONS)
        rates = {name: [run.per_cpu_s for run in runs] for name, runs in samples.items()}
        for name, values in rates.items():
            elements = spread([value * ELEMENTS / 1e6 for value in values])
            label = f"c={CONNECTIONS} elements per CPU-s, {name}"
            row.figures.append(Figure.of(label, elements, "M/s"))
        ratios = spread(paired_ratios(rates[OURS], rates[RIVAL]))
        label = f"c={CONNECTIONS} fastserve / fastapi"
        row.figures.append(Figure.of(label, ratios, "", TARGET))
        row.runs += [run.plain() for runs in samples.values() for run in runs]
        # The two are too far apart for one rate: each is loaded to 30 % of its own.
        own = {
            name: spread([run.per_s for run in runs]).median * LOAD_SHARE
            for name, runs in samples.items()
        }
        figures, runs, notes = session.latency(contestants, request, CONNECTIONS, own)
        row.figures += figures
        row.runs += runs
        row.notes += notes
    return row
