"""Programs that a benchmark starts: found, pinned, measured and ended."""

import os
import sys
from pathlib import Path

import pytest

from bench.processes import Memory, Process, free_port, parse_smaps_rollup
from bench.programs import BenchError, find_envoy, find_program

ROLLUP = """\
55a030923000-7ffe1b584000 ---p 00000000 00:00 0                          [rollup]
Rss:                1676 kB
Pss:                 355 kB
Pss_Anon:            116 kB
Anonymous:           120 kB
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="cores and /proc are Linux's")


def test_memory_is_resident_and_anonymous() -> None:
    """The share that other processes could not use is told apart."""
    assert parse_smaps_rollup(ROLLUP) == Memory(resident_kib=1676, anonymous_kib=120)


def test_a_missing_program_is_named_with_its_remedy(tmp_path: Path) -> None:
    """One line says what to install."""
    with pytest.raises(BenchError, match=r"wrk is needed .* apt install wrk"):
        find_program("wrk", search_path=str(tmp_path))


def test_a_missing_envoy_names_what_installs_it(tmp_path: Path) -> None:
    """An empty virtual environment has no Envoy."""
    with pytest.raises(BenchError, match="make bench-quick"):
        find_envoy(tmp_path)


@linux
def test_a_process_runs_on_its_core_and_ends_with_the_block(tmp_path: Path) -> None:
    """The program itself is what is pinned and measured, not a wrapper around it."""
    core = min(os.sched_getaffinity(0))
    program = (sys.executable, "-c", "import sys; sys.stdin.read(); import time; time.sleep(60)")
    with Process(program, core=core, log=tmp_path / "log") as process:
        assert process.memory().resident_kib > 0
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@linux
def test_a_program_that_ends_too_early_is_quoted(tmp_path: Path) -> None:
    """The last line that the program wrote is the reason given."""
    program = (sys.executable, "-c", "import sys; sys.exit('config: line 3: no such key')")
    core = min(os.sched_getaffinity(0))
    with (
        Process(program, core=core, log=tmp_path / "log") as process,
        pytest.raises(BenchError, match="ended: config: line 3: no such key"),
    ):
        process.wait_until_ready(free_port(), "/readyz")
