"""Who used a core, from texts as ``/proc`` prints them, and from ``/proc`` itself."""

import os
import sys

import pytest

from bench.cores import (
    CoreTicks,
    Sample,
    Usage,
    parse_process_ticks,
    parse_stat,
    process_seconds,
    scheduled_seconds,
    take_sample,
    usage_between,
)

STAT = """\
cpu  300 2 30 1000 10 1 5 20 0 0
cpu0 100 1 10 500 4 0 3 9 0 0
cpu1 200 1 20 500 6 1 2 11 0 0
intr 203981 0 0
ctxt 99
"""


def test_each_core_is_read_and_their_sum_is_not() -> None:
    """Running is user, nice and system; waiting for a disk is idle; interrupts count in total."""
    assert parse_stat(STAT) == {
        0: CoreTicks(running=111, stolen=9, idle=504, total=627),
        1: CoreTicks(running=221, stolen=11, idle=506, total=741),
    }


def test_a_command_name_with_parentheses_shifts_no_field() -> None:
    """User and system time are the 14th and 15th field, counted behind the name."""
    line = "7 (a) R (b c) S 1 2 3 4 5 6 7 8 9 10 120 34 0 0 20 0 1"
    assert parse_process_ticks(line) == 154


def sample(*, own: int, running: int, idle: int, stolen: int = 0) -> Sample:
    total = running + idle + stolen
    proxy = CoreTicks(running, stolen, idle, total)
    load = CoreTicks(running=50, stolen=0, idle=total - 50, total=total)
    return Sample({0: proxy, 1: load}, own)


NOTHING = Sample({0: CoreTicks(0, 0, 0, 0), 1: CoreTicks(0, 0, 0, 0)}, 0)


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        (sample(own=95, running=95, idle=5), ""),
        (sample(own=94, running=94, idle=6), "load-limited"),
        (sample(own=95, running=100, idle=0), ""),
        (sample(own=94, running=100, idle=0), "disturbed"),
        (sample(own=94, running=94, idle=0, stolen=6), "disturbed"),
    ],
    ids=["busy", "waiting", "shared a little", "shared", "stolen"],
)
def test_only_a_busy_and_undisturbed_proxy_core_counts(after: Sample, verdict: str) -> None:
    """A run is judged at 95 % busy and at 5 % taken by others, both still good."""
    assert usage_between(NOTHING, after, proxy_core=0, load_core=1).verdict == verdict


def test_shares_are_of_the_core_they_name() -> None:
    """The load core's share comes from the load core; rounding never makes others negative."""
    usage = usage_between(
        NOTHING, sample(own=101, running=100, idle=100), proxy_core=0, load_core=1
    )
    assert usage == Usage(proxy_core=0.5, load_core=0.25, own=0.505, others=0.0)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_this_machine_can_be_sampled() -> None:
    """The running kernel prints what the parsers expect."""
    taken = take_sample(os.getpid())
    assert taken.process_ticks >= 0
    assert all(core.total > 0 for core in taken.cores.values())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_scheduled_time_is_the_same_time_told_exactly() -> None:
    """Never behind the ticks by more than what is not yet one, and never going back."""
    before = scheduled_seconds(os.getpid())
    sum(range(2_000_000))
    after = scheduled_seconds(os.getpid())
    assert after > before > 0
    assert isinstance(process_seconds(os.getpid()), float)
