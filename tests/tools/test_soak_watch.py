"""What the soak calls growth."""

import pytest

from tools.soak import watch

MB = 1 << 20


def at(
    at_s: float,
    rss_bytes: float,
    *,
    heap_bytes: float = 18 * MB,
    fds: int = 20,
    threads: int = 8,
    is_quiet: bool = True,
):
    return watch.Sample(
        at_s=at_s,
        rss_bytes=int(rss_bytes),
        heap_bytes=int(heap_bytes),
        pss_bytes=0,
        fds=fds,
        threads=threads,
        connections=1,
        in_flight=1,
        is_quiet=is_quiet,
    )


def an_hour(bytes_per_hour: float) -> list[watch.Sample]:
    """One sample a minute."""
    return [at(60 * i, 60 * MB + bytes_per_hour * i / 60) for i in range(61)]


def problems(samples: list[watch.Sample]) -> list[str]:
    return watch.judge(samples, samples[0], samples[-1])[1]


def test_a_slope_is_that_of_the_line():
    assert watch.slope_per_hour(an_hour(5 * MB)) == pytest.approx(5 * MB)


def test_less_than_two_samples_have_no_slope():
    assert watch.slope_per_hour([]) == 0
    assert watch.slope_per_hour([at(1, MB)]) == 0


def test_an_hour_that_grows_by_less_than_a_megabyte_is_well():
    assert problems(an_hour(0.9 * MB)) == []


def test_a_leak_is_found():
    (problem,) = problems(an_hour(2 * MB))
    assert "RSS rises by 2.10 MB an hour" in problem


def test_what_is_held_in_a_heap_that_does_not_grow_is_found():
    """A model comes and goes: only what stays when it is gone tells."""
    loaded = [i % 3 * MB for i in range(20)]
    settling = [min(i, 7) * MB for i in range(20)]
    held = [18 * MB + settling[i] + loaded[i] for i in range(20)]
    leaking = [at(60 * i, 60 * MB, heap_bytes=held[i] + i * 0.2 * MB) for i in range(20)]
    (problem,) = problems(leaking)
    assert "the heap keeps" in problem
    assert problems([at(60 * i, 60 * MB, heap_bytes=held[i]) for i in range(20)]) == []
    assert problems(leaking[:12]) == []  # It has not settled for long enough.


def test_growth_in_the_first_half_is_none():
    """Caches fill, the allocator's arenas find their size."""
    growing = [at(60 * i, 60 * MB + i * MB) for i in range(30)]
    steady = [at(60 * i, 90 * MB) for i in range(30, 61)]
    assert problems(growing + steady) == []


def test_what_is_held_under_load_is_not_what_stays():
    busy = [at(60 * i + 30, 500 * MB + i * MB, is_quiet=False) for i in range(60)]
    assert problems(sorted(an_hour(0) + busy, key=lambda one: one.at_s)[:-1]) == []


def test_a_short_soak_is_not_judged_by_one_step_of_the_allocator():
    assert problems([at(60 * i, 60 * MB + (i > 3) * 200_000) for i in range(6)]) == []


def test_what_is_left_at_the_end_is_told():
    first = at(0, 60 * MB)
    last = at(3600, 60 * MB, fds=21, threads=8 + watch.SCRAPE_THREADS_MAX + 1)
    assert len(watch.judge([first, last], first, last)[1]) == 2
