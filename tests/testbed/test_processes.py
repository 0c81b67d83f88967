"""Child processes: real ones, ended whatever happens."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import pytest

from sidecar.testbed.ports import free_ports
from sidecar.testbed.processes import (
    ChildProcess,
    ProcessError,
    child_environment,
    child_process,
    service,
)

READY = re.compile("^ready$")
PATIENT = 30.0
"""Seconds; only a broken test waits so long."""

SLEEPER = "import time; print('ready'); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPER


def python(program: str) -> AbstractAsyncContextManager[ChildProcess]:
    return child_process(
        "a program", (sys.executable, "-c", program), environment=child_environment()
    )


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_is_ended_with_its_block() -> None:
    """Leaving the block asks the child to end, and it is gone afterwards."""
    async with python(SLEEPER) as child:
        await child.line(READY, timeout_seconds=PATIENT)
        child.check()
    assert child.exit_code == -signal.SIGTERM
    assert not exists(child.pid)


FORKING = (
    "import os, sys, time; r, w = os.pipe();"
    "pid = os.fork();"
    "print('ready' if pid else '', pid if pid else '', sep='\\n', flush=True);"
    "time.sleep(600)"
)


async def test_the_children_of_a_child_are_ended_where_it_has_some() -> None:
    """A server's workers may outlive a master that is killed; here nothing of it does."""
    async with child_process(
        "a server",
        (sys.executable, "-c", FORKING),
        environment=child_environment(),
        with_children=True,
    ) as child:
        worker = int((await child.line(re.compile("^[0-9]+$"), timeout_seconds=PATIENT)).group())
        assert exists(worker)
        assert await child.stop() == -signal.SIGTERM
    for _ in range(1000):  # its new parent has to collect it first
        if not exists(worker):
            break
        await asyncio.sleep(0.01)
    assert not running(worker)


def running(pid: int) -> bool:
    """Whether *pid* is more than a process that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return exists(pid) if not Path("/proc/self").exists() else False


async def test_a_child_that_ignores_sigterm_is_killed() -> None:
    """SIGKILL follows when the grace is over."""
    async with python(STUBBORN) as child:
        await child.line(READY, timeout_seconds=PATIENT)
        assert await child.stop(grace_seconds=0.05) == -signal.SIGKILL
    assert not exists(child.pid)


async def test_cancellation_while_stopping_kills_at_once() -> None:
    """A second Ctrl-C does not leave a stubborn child behind."""
    stopping = asyncio.Event()
    children = []

    async def run() -> None:
        async with python(STUBBORN) as child:
            children.append(child)
            await child.line(READY, timeout_seconds=PATIENT)
            stopping.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await stopping.wait()
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert await children[0].stop() == -signal.SIGKILL


async def test_an_early_end_is_told_with_its_last_lines() -> None:
    """Whoever waits for a child that fails learns the exit code and what it said last."""
    program = "import sys; print('chatter'); sys.exit('cannot start: no such file')"
    async with python(program) as child:
        with pytest.raises(ProcessError, match="exit code 1 before it was ready") as caught:
            await child.line(READY, timeout_seconds=PATIENT)
        assert caught.value.last_lines == ("cannot start: no such file",)
        with pytest.raises(ProcessError, match="a program ended with exit code 1"):
            child.check()


async def test_a_death_by_signal_is_told_as_such() -> None:
    """A crash names its signal, not a negative number."""
    async with python("import os; os.kill(os.getpid(), 9)") as child:
        with pytest.raises(ProcessError, match="ended with signal 9"):
            await child.line(READY, timeout_seconds=PATIENT)


async def test_waiting_for_a_silent_child_is_bounded() -> None:
    """A child that never says it is ready is given up."""
    async with python(SLEEPER) as child:
        with pytest.raises(ProcessError, match=r"not ready within 0\.05 s"):
            await child.line(re.compile("^never$"), timeout_seconds=0.05)


async def test_output_is_kept_within_bounds() -> None:
    """A flood of lines and one endless line cost no more than the last of them."""
    program = (
        "import sys\n"
        "for i in range(5000): print('line', i)\n"
        "print('x' * 1_000_000); print('ready'); print('y' * 100_000, end='')"
    )
    async with python(program) as child:
        await child.line(READY, timeout_seconds=PATIENT)
        with pytest.raises(ProcessError):
            await child.line(re.compile("^never$"), timeout_seconds=PATIENT)
        kept = child.last_lines(1000)
    assert len(kept) <= 101
    assert max(map(len, kept)) == 4096
    assert kept[-1] == "y" * 4096


async def test_announced_addresses_are_read() -> None:
    """Every form of announcement gives a name and an address."""
    program = (
        "import sys\n"
        "print('sidecar: listening admin 127.0.0.1:15490', file=sys.stderr)\n"
        "print('sidecar: listening outbound profile-service 127.0.0.1:9001 -> http://p:80',"
        " file=sys.stderr)\n"
        "print('sidecar: listening inbound [::1]:15406 -> http://127.0.0.1:8080',"
        " file=sys.stderr)\n"
        "print('user-service: listening on 127.0.0.1:8080')\n"
        "print('ready')"
    )
    async with python(program) as child:
        await child.line(READY, timeout_seconds=PATIENT)
        with pytest.raises(ProcessError):
            await child.line(re.compile("^never$"), timeout_seconds=PATIENT)
        assert child.announced() == {
            "admin": "127.0.0.1:15490",
            "outbound profile-service": "127.0.0.1:9001",
            "inbound": "[::1]:15406",
            "": "127.0.0.1:8080",
        }


async def test_a_service_is_yielded_with_its_address(tmp_path: Path) -> None:
    """A script is started with its arguments and known by the address it announced."""
    script = tmp_path / "service.py"
    script.write_text("import sys, time; print('listening on', sys.argv[1]); time.sleep(600)")
    environment = child_environment()
    async with service("s", script, "127.0.0.1:4711", environment=environment) as (_, address):
        assert address == "127.0.0.1:4711"


def test_children_inherit_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the surroundings never comes between a service and loopback."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    environment = child_environment(EXTRA="1")
    assert environment["EXTRA"] == "1"
    assert not [name for name in environment if name.lower().endswith("_proxy")]


async def test_an_exception_in_the_block_ends_the_child() -> None:
    """A failure of the caller's own leaves no process behind either."""

    async def fail() -> AsyncIterator[ChildProcess]:
        async with python(SLEEPER) as child:
            yield child
            raise RuntimeError("the caller's own")

    steps = fail()
    child = await anext(steps)
    with pytest.raises(RuntimeError, match="the caller's own"):
        await anext(steps)
    assert not exists(child.pid)


def test_workers_of_pytest_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free when it is looked for must be so when it is used, seconds later."""
    found = []
    for worker in ("gw0", "gw1", "gw11"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        found.append(set(free_ports(50)))
    assert [(min(ports) // 1000, max(ports) // 1000) for ports in found] == [
        (20, 20),
        (21, 21),
        (31, 31),
    ]
    monkeypatch.delenv("PYTEST_XDIST_WORKER")
    assert len(set(free_ports(3))) == 3
