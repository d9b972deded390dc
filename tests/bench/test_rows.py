"""The pure parts of the rows: what is checked, and how figures come out of runs."""

import array
import json

import pytest

from bench.serve.exchange import Response, parse_head
from bench.serve.pairing import spread
from bench.serve.rows import client, embed, mlp, poison, small, text
from bench.serve.rows.session import Sample, WrongAnswerError, require_echo


def response(status, body, headers=None):
    return Response(status, headers or {}, b"", body)


def binary(data, status=200):
    head = b'{"outputs":[]}'
    return response(status, head + data, {"inference-header-content-length": str(len(head))})


def test_a_head_is_read_whatever_the_case_of_its_names():
    head = b"HTTP/1.1 404 Not Found\r\nContent-LENGTH: 12\r\n\r\n"
    assert parse_head(head) == (404, {"content-length": "12"})
    with pytest.raises(ValueError, match="not a status line"):
        parse_head(b"hello\r\n\r\n")


def test_an_echo_must_be_the_very_bytes():
    require_echo(binary(b"abcd"), b"abcd")
    with pytest.raises(WrongAnswerError, match="not the tensor"):
        require_echo(binary(b"abce"), b"abcd")
    with pytest.raises(WrongAnswerError, match="status 500"):
        require_echo(binary(b"abcd", status=500), b"abcd")


# fp32 printed with too few digits reads back as another number.
def test_text_must_read_back_as_the_same_floats():
    data = array.array("f", [0.1, 2.0]).tobytes()
    exact = [float(value) for value in array.array("f", data)]
    text.require_same_floats(
        response(200, json.dumps({"outputs": [{"data": exact}]}).encode()), data
    )
    with pytest.raises(WrongAnswerError, match="not those sent"):
        text.require_same_floats(response(200, b'{"outputs":[{"data":[0.1001,2.0]}]}'), data)


def sample(contestant, requests, cpu_s):
    return Sample(contestant, 8, requests, wall_s=2.0, cpu_s=cpu_s)


def test_the_ratio_is_the_median_of_rounds_not_the_ratio_of_medians():
    samples = {
        small.LIGHT: [sample(small.LIGHT, n, 1.0) for n in (100, 200, 1000)],
        small.INLINE: [sample(small.INLINE, n, 1.0) for n in (80, 100, 900)],
    }
    figures = {figure.name: figure for figure in small.figures_of(8, samples)}
    ratio = figures["c=8 fastserve / light"]
    assert ratio.value == pytest.approx(0.8)
    assert ratio.low == pytest.approx(0.5)
    assert ratio.high == pytest.approx(0.9)
    assert ratio.target == small.INLINE_TARGET
    assert "c=8 fastserve_hop / light" not in figures


def test_requests_are_paid_with_cpu_not_with_wall_time():
    assert sample("x", 1000, 0.5).per_cpu_s == 2000
    assert sample("x", 1000, 0.5).cpu_us == 500
    assert sample("x", 1000, 0.5).per_s == 500


def test_a_client_is_beside_the_other_of_its_protocol():
    rates = {"http": 300, "grpc": 400, "tritonclient.http": 100, "tritonclient.grpc": 100}
    samples = {kind: [sample(kind, n, 1.0)] for kind, n in {**rates, client.LIGHT: 500}.items()}
    figures = {figure.name: figure for figure in client.figures_of("x", samples, 3.5)}
    assert figures["x fastserve.client http / tritonclient.http"].verdict == "FAIL"
    assert figures["x fastserve.client grpc / tritonclient.grpc"].value == pytest.approx(4)
    light = figures["x fastserve.client grpc / light"]
    assert light.value == pytest.approx(0.8)
    assert light.target is None


METRICS = """# HELP fastserve_rows_total Rows.
# TYPE fastserve_rows_total counter
fastserve_rows_total{model="mlp",version="1"} 100
fastserve_rows_total{model="mlp",version="2"} 20
fastserve_rows_total{model="other",version="1"} 7000
fastserve_rows_created{model="mlp",version="1"} 1.7e9
"""


def test_a_counter_is_summed_over_the_versions_of_its_model_only():
    assert mlp.metric_sum(METRICS, "fastserve_rows_total", "mlp") == 120
    with pytest.raises(KeyError, match="no fastserve_rows_total for model absent"):
        mlp.metric_sum(METRICS, "fastserve_rows_total", "absent")


def test_the_error_of_an_answer_is_its_worst_element():
    answer = binary(array.array("f", [1.0, 2.5]).tobytes())
    assert mlp.error_of(answer, [1.0, 2.0]) == 0.5
    with pytest.raises(WrongAnswerError, match="2 values, expected 3"):
        mlp.error_of(answer, [1.0, 2.0, 3.0])


# Two models' bursts are compared row by row: an answer that belongs to a neighbour is wrong.
def test_a_neighbours_answer_is_not_right():
    answer = binary(array.array("f", [1.0]).tobytes())
    assert poison.is_right(answer, [1.0])
    assert not poison.is_right(answer, [3.0])
    assert not poison.is_right(response(503, b""), [1.0])


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (400, b'{"error":"input \\"input\\": expected [-1,64], received [1,63]"}', True),
        (500, b'{"error":"input \\"input\\": expected [-1,64], received [1,63]"}', False),
        (400, b'{"error":"invalid shape"}', False),
        (400, b"bad request", False),
        (400, b"[]", False),
    ],
)
def test_a_refusal_must_be_a_400_that_names_tensor_expected_and_received(status, body, verdict):
    assert poison.explains(response(status, body)) is verdict


def test_spread_of_one_run_is_that_run():
    assert spread([4.0]).low == spread([4.0]).high == 4.0


def test_the_rate_of_the_queue_is_read_from_its_own_benchmark(tmp_path):
    program = tmp_path / "bench"
    said = "here,  8 together   193 ns; 5.18 million/s\nhere, 32 together   160 ns; 6.23 million/s"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    assert embed.queue_per_s(program) == pytest.approx(6.23e6)
    program.write_text("#!/bin/sh\necho nothing\n")
    with pytest.raises(ValueError, match="no rate for 32"):
        embed.queue_per_s(program)
