from typing import Any

import pytest

from fastserve.server.tracing.entries import check, entries

RECORD: dict[str, Any] = {
    "time_ns": 10_000, "total_ns": 900, "receive_ns": 100, "queue_ns": 200, "stage_ns": 50,
    "run_ns": 300, "finish_ns": 20, "send_ns": 30, "batch_rows": 2,
    "model": "m", "version": "3", "id": "a", "path": "/v2/models/m/infer",
}  # fmt: skip


def test_a_trace_tells_when_each_phase_began():
    head, times = entries(7, RECORD)
    assert head == {"model_name": "m", "model_version": 3, "id": 7, "request_id": "a"}
    assert times["id"] == 7
    assert [(entry["name"], entry["ns"]) for entry in times["timestamps"]] == [
        ("HTTP_RECV_START", 9_100),
        ("HTTP_RECV_END", 9_200),
        ("REQUEST_START", 9_200),
        ("QUEUE_START", 9_400),
        ("COMPUTE_START", 9_600),
        ("COMPUTE_INPUT_END", 9_650),
        ("COMPUTE_OUTPUT_START", 9_950),
        ("COMPUTE_END", 9_970),
        ("REQUEST_END", 9_970),
        ("HTTP_SEND_START", 9_970),
        ("HTTP_SEND_END", 10_000),
    ]


def test_one_over_grpc_or_that_never_ran():
    path = "/inference.GRPCInferenceService/ModelStreamInfer"
    head, times = entries(1, {**RECORD, "path": path, "batch_rows": 0, "id": ""})
    assert "request_id" not in head
    assert [entry["name"] for entry in times["timestamps"]] == [
        "GRPC_WAITREAD_START",
        "GRPC_WAITREAD_END",
        "REQUEST_START",
        "REQUEST_END",
        "GRPC_SEND_START",
        "GRPC_SEND_END",
    ]


def test_what_another_process_sends_is_looked_at():
    assert check({**RECORD, "peer": "x"}) == RECORD
    wrongs: list[Any] = [
        [], None, {}, {**RECORD, "run_ns": "1"}, {**RECORD, "run_ns": True},
        {**RECORD, "version": "x"}, {**RECORD, "model": 1},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(ValueError, match="no trace record"):
            check(wrong)
