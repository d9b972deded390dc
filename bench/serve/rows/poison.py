"""A bad neighbour: 31 good requests at once with one of the wrong shape."""

from __future__ import annotations

import json

from bench.serve import exchange, payload
from bench.serve.exchange import Response
from bench.serve.report import Figure, Row
from bench.serve.rows.mlp import (
    COLUMNS,
    TOLERANCE,
    engine_answers,
    error_of,
    repository_of,
    row_request,
)
from bench.serve.rows.session import Session, WrongAnswerError

GOOD = 31
BAD_COLUMNS = 63
ROUNDS = 32


def explains(response: Response) -> bool:
    """True for a 400 whose error names the tensor, the expected and the received size."""
    if response.status != 400:
        return False
    try:
        text = str(json.loads(response.body)["error"])
    except (ValueError, KeyError, TypeError):
        return False
    return all(part in text for part in ("input", str(COLUMNS), str(BAD_COLUMNS)))


def is_right(response: Response, expected: list[float]) -> bool:
    try:
        return error_of(response, expected) <= TOLERANCE
    except WrongAnswerError:
        return False


def run(session: Session) -> Row:
    """The bad one takes every place in the burst once, since a batch closes where it must."""
    row = Row("poison")
    repository, model = repository_of(session)
    rows = payload.floats(GOOD * COLUMNS, seed=5)
    expected = engine_answers(session, model, rows)
    good = [row_request(rows, index).encoded() for index in range(GOOD)]
    bad_data = payload.floats(BAD_COLUMNS, seed=6)
    bad = payload.binary_request("mlp", "input", [1, BAD_COLUMNS], bad_data).encoded()
    fewest_right, explained = GOOD, 0
    with session.serve("fastserve", repository) as server:
        for place in range(ROUNDS):
            burst = [*good[:place], bad, *good[place:]]
            responses = exchange.at_once(server.port, burst)
            answer = responses.pop(place)
            pairs = zip(responses, expected, strict=True)
            right = sum(is_right(seen, want) for seen, want in pairs)
            fewest_right = min(fewest_right, right)
            explained += explains(answer)
            said = answer.body[:300].decode(errors="replace")
            row.runs.append({"place": place, "right": right, "status": answer.status, "said": said})
    row.figures += [
        Figure(f"right answers of {GOOD}, worst of {ROUNDS} bursts", fewest_right, "", GOOD),
        Figure("bursts whose bad request got an explaining 400", explained, "", ROUNDS),
    ]
    return row
