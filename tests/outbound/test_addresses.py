"""Which addresses an unlisted host may have, and how often anybody is asked."""

import asyncio
import socket
from collections.abc import Sequence

import pytest

from sidecar.core.outcome import Denial, Reason
from sidecar.outbound.addresses import (
    FRESH_SECONDS,
    MAX_LOOKUPS,
    MAX_LOOKUPS_BEGUN,
    MAX_NAMES,
    Addresses,
    why_refused,
)
from tests.support.wire_clock import ManualClock
from tests.support.wire_peer import until

FAR = "192.0.2.7"


class Names:
    """A resolver that answers what the test says, when it says so."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else [FAR]
        if isinstance(answer, OSError):
            raise answer
        return answer


def addresses(names: Names, clock: ManualClock | None = None, timeout: float = 5.0) -> Addresses:
    return Addresses(
        lookup=names, refuses=why_refused, timeout_seconds=timeout, clock=clock or ManualClock()
    )


async def test_an_answer_is_used_again_for_a_while() -> None:
    """Just before the end it still is, at the end it is not."""
    names, clock = Names(), ManualClock()
    found = addresses(names, clock)
    assert found.known("h", 80) is None
    assert await found.find("h", 80) == (FAR,)
    clock.advance(FRESH_SECONDS - 0.001)
    assert found.known("h", 80) == (FAR,)
    clock.advance(0.001)
    assert found.known("h", 80) is None


async def test_one_bad_address_refuses_the_name() -> None:
    """Whoever mixes them means the bad one (DNS rebinding); nothing is remembered of it."""
    names = Names([FAR, "169.254.169.254"])
    found = addresses(names)
    denial = await found.find("h", 80)
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.TARGET_FORBIDDEN
    assert found.known("h", 80) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (OSError("no"), Reason.UPSTREAM_UNREACHABLE),
        (socket.gaierror(-2, "unknown"), Reason.UPSTREAM_UNREACHABLE),
        ([], Reason.UPSTREAM_UNREACHABLE),
    ],
)
async def test_a_name_without_address_is_a_reason(
    answer: Sequence[str] | OSError, reason: Reason
) -> None:
    """And it is asked for again the next time."""
    names = Names(answer)
    found = addresses(names)
    denial = await found.find("h", 80)
    assert isinstance(denial, Denial)
    assert denial.reason is reason
    assert await found.find("h", 80) == (FAR,)


async def test_a_name_that_no_resolver_takes_is_a_reason() -> None:
    """A label of over 63 letters makes the standard library raise something else."""

    async def lookup(host: str, port: int) -> Sequence[str]:
        return [host.encode("idna").decode()]

    found = Addresses(lookup=lookup, refuses=why_refused, timeout_seconds=1.0, clock=ManualClock())
    denial = await found.find("x" * 64 + ".example", 80)
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.UPSTREAM_UNREACHABLE


async def test_a_slow_resolver_is_not_waited_for() -> None:
    """504, like any other that does not answer in time; but its threads are not piled up."""
    names = Names()
    names.gate.clear()
    found = addresses(names, timeout=0.01)
    for number in range(MAX_LOOKUPS):
        denial = await found.find(f"h{number}", 80)
        assert isinstance(denial, Denial)
        assert denial.reason is Reason.UPSTREAM_TIMEOUT
    assert len(names.asked) == MAX_LOOKUPS_BEGUN
    denial = await found.find("one-more", 80)
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.OVERLOADED
    names.gate.set()
    await until(lambda: len(names.asked) == MAX_LOOKUPS and not found._asking)
    assert await found.find("h", 80) == (FAR,)


async def test_a_name_is_asked_for_once_at_a_time() -> None:
    """And whoever leaves does not take the answer from the others."""
    names = Names()
    names.gate.clear()
    found = addresses(names)
    tasks = [asyncio.create_task(found.find("h", 80)) for _ in range(10)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    names.gate.set()
    assert await asyncio.gather(*tasks[1:]) == [(FAR,)] * 9
    assert names.asked == [("h", 80)]


async def test_lookups_and_memory_are_bounded() -> None:
    """Over the bound a request is refused; names are forgotten and asked for again."""
    names = Names()
    names.gate.clear()
    found = addresses(names)
    tasks = [asyncio.create_task(found.find(f"h{n}", 80)) for n in range(MAX_LOOKUPS)]
    await asyncio.sleep(0)
    denial = await found.find("one-more", 80)
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.OVERLOADED
    names.gate.set()
    await asyncio.gather(*tasks)
    for number in range(MAX_NAMES + 1):
        await found.find(f"n{number}", 80)
        assert len(found._known) <= MAX_NAMES


def test_this_machines_own_addresses_are_refused() -> None:
    """Pods reach themselves by their own address as well as by loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((FAR, 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        own = probe.getsockname()[0]
    assert why_refused(own) == "the pod's own addresses are refused"
    assert why_refused(FAR) is None
    assert why_refused("10.1.2.3") is None  # other pods are what proxies are for
