"""Names of results, and the refusal to report from a busy machine."""

import datetime

import pytest

from bench.serve import machine, procfs
from tests.proc import needs_own_proc

NOON = datetime.datetime(2026, 11, 24, 12, 0, 5, tzinfo=datetime.UTC)


def test_a_result_is_named_by_commit_machine_and_time():
    name = machine.result_name("ab12cd3", "AMD EPYC 9554 64-Core", "nogpu", "performance", NOON)
    assert name == "ab12cd3.amd_epyc_9554_64-core.nogpu.performance.20261124T120005Z.json"


# A dot inside a field would move every field behind it.
def test_no_field_of_a_name_can_hold_a_dot():
    name = machine.result_name("a", "Xeon 3.0GHz", "Tesla V1.5", "on.demand", NOON)
    assert len(name.split(".")) == 6


def test_the_time_in_a_name_is_utc():
    berlin = datetime.timezone(datetime.timedelta(hours=1))
    here = NOON.astimezone(berlin)
    assert machine.result_name("a", "b", "c", "d", here).split(".")[4] == "20261124T120005Z"
    with pytest.raises(ValueError, match="time zone"):
        machine.result_name("a", "b", "c", "d", NOON.replace(tzinfo=None))


def test_an_empty_field_is_called_unknown():
    assert machine.slug(" ") == "unknown"


def test_the_cpu_model_is_found_or_unknown():
    assert machine.cpu_model("processor\t: 0\nmodel name\t: AMD EPYC\nflags\t: fpu\n") == "AMD EPYC"
    assert machine.cpu_model("") == "unknown"


# Two cores for one second: we used one core, others half of one, which is a quarter of the machine.
def test_foreign_share_counts_only_what_is_not_ours():
    ticks = procfs.TICKS_PER_S
    share = machine.foreign_share(busy_ticks=int(1.5 * ticks), own_ticks=ticks, wall_s=1.0, cores=2)
    assert share == pytest.approx(0.25)


# Ticks are rounded per process, so our own sum may come out above the machine's.
def test_foreign_share_is_never_negative():
    assert machine.foreign_share(busy_ticks=9, own_ticks=10, wall_s=1.0, cores=2) == 0.0


def test_a_busy_machine_is_refused_unless_forced():
    with pytest.raises(machine.BusyMachineError, match="40% of the machine"):
        machine.require_quiet(0.40, force=False)
    machine.require_quiet(0.40, force=True)
    machine.require_quiet(0.15, force=False)


@needs_own_proc
def test_a_watch_sees_shares_between_none_and_all():
    watch = machine.LoadWatch.start()
    total = sum(index * index for index in range(300_000))
    foreign, stolen = watch.shares()
    assert total > 0
    assert foreign >= 0
    assert stolen >= 0
