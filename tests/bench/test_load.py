"""Reading the load generators' output, and refusing runs that were not what they claim."""

import pytest

from bench.serve import load

WRK = """Running 2s test @ http://127.0.0.1:9000/v2/models/m/infer
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   102.11us   80.41us   3.45ms   97.15%
    Req/Sec    77.43k     6.31k   86.11k    60.00%
  {requests} requests in 2.00s, 30.00MB read
{trouble}Requests/sec:  76973.22
Transfer/sec:     15.05MB
"""


def wrk(requests=154000, trouble=""):
    return WRK.format(requests=requests, trouble=trouble)


def test_wrk_is_read():
    run = load.parse_wrk(wrk())
    assert run == load.ClosedLoop(154000, 2.0, 30 * 1024**2)
    assert run.per_s == 77_000


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("  Non-2xx or 3xx responses: 3\n", "3 answers were not 2xx"),
        ("  Socket errors: connect 0, read 7, write 0, timeout 0\n", "read 7"),
    ],
)
def test_a_run_with_trouble_is_refused(trouble, said):
    with pytest.raises(load.LoadError, match=said):
        load.parse_wrk(wrk(trouble=trouble))


def test_a_run_without_answers_is_refused():
    with pytest.raises(load.LoadError, match="not one request"):
        load.parse_wrk(wrk(requests=0))
    with pytest.raises(load.LoadError, match="nothing that can be read"):
        load.parse_wrk("unable to connect")


# 1000 answers of 100 bytes, and up to 8 more that the end cut off.
def test_answers_of_another_length_are_refused():
    load.require_size(load.ClosedLoop(1000, 1.0, 100_400), 100, 8)
    with pytest.raises(load.LoadError, match="50 bytes per answer, expected 100"):
        load.require_size(load.ClosedLoop(1000, 1.0, 50_000), 100, 8)
    with pytest.raises(load.LoadError, match="200 bytes per answer"):
        load.require_size(load.ClosedLoop(1000, 1.0, 200_000), 100, 8)


OPEN = (
    '{{"rate_per_s":100.0,"sent":10,"completed":10,"measured":8,"non_2xx":{bad},'
    '"unanswered":{lost},"queued":1,"late_p99_ns":900,"histogram":[[1000,7],[2000,1]],'
    '"refused":[[500,{bad}]]}}'
)


def test_the_open_loop_client_is_read():
    seen = load.parse_openloop(OPEN.format(bad=0, lost=0))
    assert seen == load.OpenLoop(100.0, 10, 1, 900, {1000: 7, 2000: 1}, {500: 0})


def test_missing_and_bad_answers_are_refused():
    with pytest.raises(load.LoadError, match="2 answers were not 2xx"):
        load.parse_openloop(OPEN.format(bad=2, lost=0))
    assert load.parse_openloop(OPEN.format(bad=2, lost=0), may_refuse=True).refused == {500: 2}
    with pytest.raises(load.LoadError, match="1 requests were never answered"):
        load.parse_openloop(OPEN.format(bad=0, lost=1))


H2LOAD = """finished in 2.00s, 98306.67 req/s, 12.09MB/s
requests: {done} total, {done} started, {done} done, {succeeded} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {succeeded} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 36.28MB (38045680) total, 3.66MB (3834480) headers (space savings 92.08%), 25.31MB (26542800) data
"""  # noqa: E501


def h2load(done=294920, succeeded=294920, failed=0):
    return H2LOAD.format(done=done, succeeded=succeeded, failed=failed)


def test_h2load_is_read():
    run = load.parse_h2load(h2load())
    assert run == load.ClosedLoop(294920, 2.0, 25.31 * 1024**2)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (h2load(succeeded=294919, failed=1), "1 failed"),
        (h2load(done=0, succeeded=0), "0 succeeded"),
        ("no", "nothing that can be read"),
    ],
)
def test_a_run_of_h2load_with_trouble_is_refused(output, said):
    with pytest.raises(load.LoadError, match=said):
        load.parse_h2load(output)
