"""fastserve doctor: what would trouble a server, and what to do about it."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

from fastserve.cli.diagnosis import installation, machine
from fastserve.cli.diagnosis.finding import Finding, fail, ok, warn, worst
from fastserve.cli.diagnosis.machine import Machine
from fastserve.cli.diagnosis.running import Scrape, troubles
from fastserve.cli.main import main
from fastserve.config.options import Options

ROOT = Path(__file__).resolve().parents[3]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"


@pytest.fixture
def write(tmp_path):
    """Makes files of a machine that is not there: path -> text."""

    def make(**files: str) -> Machine:
        for path, text in files.items():
            file = tmp_path / path.replace("__", "/").replace("DOT", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")
        return Machine(Options(), tmp_path)

    return make


def found(finding: Finding | None) -> Finding:
    assert finding is not None
    return finding


def test_the_worst_line_is_the_verdict():
    assert worst([]) == "ok"
    assert worst([ok("a", "b"), warn("a", "b", "c"), ok("a", "b")]) == "warn"
    assert worst([fail("a", "b", "c"), warn("a", "b", "c")]) == "fail"


# The tightest group counts, the own one or one around it.
def test_the_quota_of_the_second_cgroup_version_is_found(write):
    files = {
        "proc__self__cgroup": "0::/pod/own",
        "sys__fs__cgroup__pod__own__cpuDOTmax": "max 100000",
        "sys__fs__cgroup__pod__cpuDOTmax": "50000 100000",
    }
    finding = write(**files).processors()
    assert finding.level == "warn"
    assert "0.5 by the cgroup's quota" in finding.text
    assert "raise the CPU limit" in finding.fix


def test_the_quota_of_the_first_cgroup_version_is_found(write, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    files = {
        "proc__self__cgroup": "4:cpu,cpuacct:/own\n3:memory:/own",
        "sys__fs__cgroup__cpu__own__cpuDOTcfs_quota_us": "200000",
        "sys__fs__cgroup__cpu__own__cpuDOTcfs_period_us": "100000",
    }
    finding = write(**files).processors()
    assert finding.level == "warn"
    assert finding.text.endswith("2 by the cgroup's quota")
    assert "--loops, --instances and --threads" in finding.fix


def test_processors_without_a_quota_are_fine(write):
    assert write(proc__self__cgroup="0::/").processors().level == "ok"


@pytest.mark.parametrize(
    ("limit", "level", "part"),
    [
        ("max", "ok", "16.0 GiB, all of it"),
        (str(128 << 20), "warn", "raise the limit"),
        (str(1 << 30), "warn", "lower --max-in-flight"),
        (str(8 << 30), "ok", "8.0 GiB, the cgroup limit"),
    ],
)
def test_a_limit_of_memory_is_found(write, limit, level, part):
    files = {
        "proc__meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB",
        "proc__self__cgroup": "0::/own",
        "sys__fs__cgroup__own__memoryDOTmax": limit,
    }
    finding = found(write(**files).memory())
    assert finding.level == level
    assert part in finding.line()


def test_too_few_open_files_are_told_with_both_ways_out(write, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    finding = write().open_files()
    assert finding.level == "warn"
    assert "hard limit of 4096" in finding.fix
    assert "--max-connections 896" in finding.fix
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1 << 20))
    assert "ulimit -n 10128" in write().open_files().fix
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20_000, 20_000))
    assert write().open_files().level == "ok"


def test_a_short_backlog_and_a_slow_clock_are_told(write):
    files = {
        "proc__sys__net__core__somaxconn": "128",
        "sys__devices__system__clocksource__clocksource0__current_clocksource": "hpet",
    }
    machine = write(**files)
    assert "sysctl net.core.somaxconn=4096" in found(machine.backlog()).fix
    assert found(machine.clock()).level == "warn"


# A container may hide any of it.
def test_what_cannot_be_read_is_left_out(write):
    topics = [finding.topic for finding in write().findings()]
    assert topics == ["processors", "open files"]


def test_the_choice_of_huge_pages_is_shown(write):
    path = "sys__kernel__mm__transparent_hugepage__enabled"
    text = found(write(**{path: "always [madvise] never"}).huge_pages()).text
    assert text == "transparent ones: madvise"


def test_a_missing_engine_fails_with_the_command(monkeypatch):
    from fastserve.errors import Error

    def missing() -> str:
        raise Error(
            "FAILED_PRECONDITION", "needs ONNX Runtime; install it: pip install onnxruntime"
        )

    monkeypatch.setattr(installation, "onnxruntime_library", missing)
    findings = {finding.topic: finding for finding in installation.findings()}
    assert findings["onnxruntime"].level == "fail"
    assert "pip install onnxruntime" in findings["onnxruntime"].fix


METRICS = """\
# HELP fastserve_requests_total x
fastserve_requests_total{model="digits",version="1"} 90.0
fastserve_request_failures_total{model="digits",reason="rejected",version="1"} 10.0
fastserve_request_failures_total{model="digits",reason="deadline",version="1"} 0.0
fastserve_queue_depth{model="digits",version="1"} 7.0
fastserve_expected_wait_seconds{model="digits",version="1"} 0.0125
fastserve_busy_ratio{model="digits",version="1"} 0.97
fastserve_loop_restarts_total 3.0
fastserve_loops{state="serving"} 1.0
fastserve_loops{state="waiting"} 1.0
fastserve_connection_closes_total{reason="limit"} 4.0
fastserve_http_responses_total{status="500"} 2.0
process_open_fds 95.0
process_max_fds 100.0
"""


def test_metrics_that_point_at_trouble_are_said_in_words():
    lines = [finding.line() for finding in troubles(Scrape(METRICS))]
    for part in (
        "digits version 1: 10 requests (10.0%) were refused at once",
        "7 requests wait now, the next is answered in about 12.5 ms",
        "its instances are busy 97% of the time",
        "3 times an event loop was started again",
        "not all serve: 1 waiting",
        "4 connections were closed at a limit",
        "2 were 500",
        "95 of 100 are open",
    ):
        assert any(part in line for line in lines), (part, lines)
    assert not any("too late" in line for line in lines)


def test_metrics_without_trouble_are_said_in_one_line():
    quiet = (
        'fastserve_requests_total{model="m",version="1"} 5.0\nfastserve_loop_restarts_total 0.0\n'
    )
    assert [finding.level for finding in troubles(Scrape(quiet))] == ["ok"]


def test_models_are_checked_as_well(capsys, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no model")
    assert main(["doctor", str(DIGITS)]) == 0
    assert "ok    model              digits version 1: onnxruntime_onnx" in capsys.readouterr().out
    assert main(["doctor", str(broken)]) == 1
    assert "fail  model              broken version 1: " in capsys.readouterr().out
    assert main(["doctor", str(tmp_path / "none")]) == 1


def test_the_report_can_be_read_by_programs(capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["status"] in ("ok", "warn")
    topics = {finding["topic"] for finding in report["findings"]}
    assert {"python", "fastserve", "onnxruntime", "uvloop", "processors", "open files"} <= topics


def test_a_server_that_is_not_there_fails(capsys):
    assert main(["doctor", "http://127.0.0.1:1", "--timeout", "5s"]) == 1
    assert "no answer from http://127.0.0.1:1" in capsys.readouterr().out


def test_two_urls_are_an_error(capsys):
    assert main(["doctor", "http://127.0.0.1:1", "http://127.0.0.1:2"]) == 2
    assert "expected one URL" in capsys.readouterr().err


def test_the_units_of_sizes_are_for_people():
    assert machine._shown(1536 << 20) == "1.5 GiB"
    assert machine._shown(64 << 20) == "64 MiB"
