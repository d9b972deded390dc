"""What the soak asks, and what it must be told.

Every request bears its number in its id and in its tensors, so that an answer to another one, or
with another one's rows, cannot pass for its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from tests import kserve
from tests.attacks.raw_http import head, post
from tests.conformance import made
from tests.served import Answer, Repository

LARGE_FLOATS = 150_000  # 600 KB.
JSON_FLOATS = 10_000
MLP_COLUMNS, MLP_TOLERANCE = 64, 1e-4
SLOW_S = 0.02
MANY = 40  # Answers of a model for streams.
CROWDED = "crowded"  # Asked by crowds: its queue may be full, those of others must not be.
REFUSALS = {429, 503}


@dataclass(frozen=True)
class Asked:
    """One request; `check` raises AssertionError unless a 200 is the right one."""

    sent: bytes
    check: Callable[[Answer], None]
    # What else may come of it than the right answer.
    allowed: frozenset[int] = frozenset()


def make_models(repository: Repository) -> None:
    repository.add_identity("echo", dims="-1, -1")
    repository.add_identity("slow", dims="-1, -1", delay_us=round(SLOW_S * 1e6))
    repository.add_identity(CROWDED, dims="-1, -1")
    repository.add_identity(
        "many",
        dims="-1",
        more=f"""
            max_batch_size: 1
            parameters {{ key: "repeat" value {{ string_value: "{MANY}" }} }}
            model_transaction_policy {{ decoupled: true }}
        """,
    )
    repository.add_identity("batches", more="max_batch_size: 16 dynamic_batching { }")
    repository.add("identity_fp32")
    repository.add("identity_bytes")
    repository.add_made("mlp", made.mlp())
    repository.add_made("swapped", made.scaled(1))
    repository.add_made("coming", made.scaled(1))


class Requests:
    """Makes requests of all kinds, numbered."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._number = 0
        self._mlp = onnxruntime.InferenceSession(made.mlp(), providers=["CPUExecutionProvider"])
        self._kinds: list[Callable[[int], Asked]] = [
            *[self.small_json] * 6,
            *[self.small_binary] * 4,
            *[self.batched] * 4,
            *[self.mlp] * 4,
            *[self.swapped] * 4,
            self.strings,
            self.large_binary,
            self.large_json,
            self.unknown_model,
            self.broken_json,
            self.wrong_shape,
            self.health,
        ]

    def any(self) -> Asked:
        """One of the mixed traffic."""
        return self._chance.choice(self._kinds)(self.next_number())

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def small_json(self, number: int, model: str = "echo", **parameters: Any) -> Asked:
        array = _array(number, 4)
        tensors = [kserve.tensor("x", array)]
        return _asked(model, _json(number, tensors, parameters), number, array)

    def small_binary(self, number: int) -> Asked:
        return _binary("identity_fp32", number, _array(number, 16))

    def batched(self, number: int) -> Asked:
        rows = self._chance.choice((1, 1, 2, 5))
        return _binary("batches", number, np.repeat(_array(number, 8), rows, axis=0))

    def large_binary(self, number: int) -> Asked:
        model = self._chance.choice(("echo", "identity_fp32"))
        return _binary(model, number, _array(number, LARGE_FLOATS))

    def large_json(self, number: int) -> Asked:
        array = _array(number, JSON_FLOATS)
        body = _json(number, [kserve.tensor("x", array)], {})
        return _asked("identity_fp32", body, number, array)

    def strings(self, number: int) -> Asked:
        array = np.array([[f"{number}".encode(), b"\xc3\xbc", b'"\\\n']], np.object_)
        tensors = [kserve.tensor("x", array, "BYTES")]
        return _asked("identity_bytes", _json(number, tensors, {}), number, array)

    def mlp(self, number: int) -> Asked:
        generator = np.random.default_rng(number)
        array = generator.standard_normal((1, MLP_COLUMNS)).astype(np.float32)
        (expected,) = self._mlp.run(None, {self._mlp.get_inputs()[0].name: array})
        tensors = [kserve.tensor(self._mlp.get_inputs()[0].name, array)]
        return _asked("mlp", _json(number, tensors, {}), number, expected, MLP_TOLERANCE)

    def swapped(self, number: int) -> Asked:
        """Whatever version answers, its numbers must be its own."""
        array = _array(number, 2)
        body = _json(number, [kserve.tensor("x", array)], {})

        def check(answer: Answer) -> None:
            assert answer.json["id"] == str(number)
            (output,) = answer.json["outputs"]
            expected = array * np.float32(int(answer.json["model_version"]))
            np.testing.assert_allclose(np.reshape(output["data"], (1, 2)), expected, rtol=1e-6)

        return Asked(post("swapped", body), check)

    def unknown_model(self, number: int) -> Asked:
        return _refused(post(f"nobody{number}", b"{}"), 404)

    def broken_json(self, number: int) -> Asked:
        body = self.small_json(number).sent.partition(b"\r\n\r\n")[2]
        return _refused(post("echo", body[: self._chance.randrange(1, len(body))]), 400)

    def wrong_shape(self, number: int) -> Asked:
        tensor = {**kserve.tensor("x", _array(number, 4)), "shape": [1, 5]}
        return _refused(post("echo", _json(number, [tensor], {})), 400)

    def health(self, _number: int) -> Asked:
        return Asked(head("GET /v2/health/ready HTTP/1.1", "Host: x"), _is_json)


def _array(number: int, columns: int) -> Any:
    """A row that no other number has."""
    return (np.arange(columns, dtype=np.float32) + np.float32(number % 100_000))[np.newaxis]


def _json(number: int, tensors: list[dict[str, Any]], parameters: Mapping[str, Any]) -> bytes:
    request: dict[str, Any] = {"id": str(number), "inputs": tensors}
    if parameters:
        request["parameters"] = dict(parameters)
    return json.dumps(request).encode()


def _binary(model: str, number: int, array: Any) -> Asked:
    body, headers = kserve.binary_body(
        [kserve.binary_tensor("x", array)],
        id=str(number),
        parameters={"binary_data_output": True},
    )
    return _asked(model, body, number, array, headers=headers)


def _asked(
    model: str,
    body: bytes,
    number: int,
    expected: Any,
    tolerance: float = 0.0,
    headers: Mapping[str, str] | None = None,
) -> Asked:
    def check(answer: Answer) -> None:
        result = kserve.result(answer)
        assert result.header.get("id") == str(number), f"{result.header} for {number}"
        (found,) = result.outputs.values()
        assert found.shape == expected.shape, f"{found.shape}, expected {expected.shape}"
        if tolerance:
            assert np.allclose(found, expected, atol=tolerance), f"{model} is wrong for {number}"
        else:
            assert (found == expected).all(), f"{model} is wrong for {number}"

    lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
    return Asked(post(model, body, *lines), check)


def _refused(sent: bytes, status: int) -> Asked:
    def never(answer: Answer) -> None:
        raise AssertionError(f"a wrong request was answered with {answer.status}")

    return Asked(sent, never, frozenset({status}))


def _is_json(answer: Answer) -> None:
    assert answer.json == {"ready": True}, answer
