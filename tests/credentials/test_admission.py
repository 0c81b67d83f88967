"""Exclusive admission: one caller at a time, everybody in turn, nobody for ever."""

import asyncio
import hashlib
import math
from collections.abc import Callable

import pytest

from sidecar.core.attribution import CallTerms, Entry
from sidecar.core.outcome import Reason
from sidecar.core.principal import Credential, Principal
from sidecar.credentials.admission import TURN_SECONDS, By, ExclusiveAdmission, Turn


def credential(subject: str, token: str = "") -> Credential:
    """Make a credential of *subject*; *token* tells two of them apart."""
    raw = f"{subject}/{token}".encode()
    principal = Principal("shop", "https://i.example", subject)
    return Credential(principal, raw, hashlib.sha256(raw).digest(), math.inf, -math.inf)


ALICE, BOB, CAROL = credential("alice"), credential("bob"), credential("carol")


def granted(turn: Turn) -> bool:
    """Whether *turn* may be in the app at this moment."""
    return turn.is_granted


class Gate:
    """An admission whose time and timers a test moves by hand."""

    def __init__(
        self, by: By = "credential", *, wait: float = 5.0, quiet: float = 0.0, room: int = 100
    ) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.closed: list[Entry] = []
        self.admission = ExclusiveAdmission(
            by,
            wait_seconds=wait,
            quiet_seconds=quiet,
            max_waiting=room,
            clock=lambda: self.now,
            call_later=lambda delay, call: self.timers.append((self.now + delay, call)),
            close=self.closed.append,
        )

    def ask(self, who: Credential | None, max_age: float = 60.0) -> Turn:
        turn = self.admission.ask(who, max_age)
        assert isinstance(turn, Turn)
        return turn

    def leave(self, *turns: Turn) -> None:
        for turn in turns:
            self.admission.leave(turn)
        self.pass_time(0.0)

    def pass_time(self, seconds: float) -> None:
        """Move on, firing what falls due."""
        self.now += seconds
        due = [call for at, call in self.timers if at <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for call in due:
            call()
        self.admission.sweep(self.now)


def test_requests_with_one_token_are_in_the_app_together() -> None:
    """The very same token, that is: another of the same subject waits."""
    gate = Gate()
    first, second = gate.ask(ALICE), gate.ask(ALICE)
    assert granted(first)
    assert granted(second)
    other = gate.ask(credential("alice", "narrower scope"))
    assert not granted(other)
    gate.leave(first)
    assert not granted(other)
    gate.leave(second)
    assert granted(other)


def test_anonymous_requests_are_a_kind_of_their_own() -> None:
    """They wait for callers with a token, and these for them."""
    gate = Gate()
    nobody = gate.ask(None)
    assert gate.ask(None).is_granted
    alice = gate.ask(ALICE)
    assert not granted(alice)
    assert granted(nobody)


def test_by_request_there_is_never_more_than_one() -> None:
    """Not even of the same caller."""
    gate = Gate("request")
    first, second, third = gate.ask(ALICE), gate.ask(ALICE), gate.ask(ALICE)
    assert [turn.is_granted for turn in (first, second, third)] == [True, False, False]
    gate.leave(first)
    assert [turn.is_granted for turn in (second, third)] == [True, False]


def test_all_waiting_requests_of_one_kind_enter_together() -> None:
    """Whoever's turn it is comes in with everything that waits."""
    gate = Gate()
    alice = gate.ask(ALICE)
    bobs = [gate.ask(BOB), gate.ask(BOB)]
    gate.leave(alice)
    assert all(turn.is_granted for turn in bobs)


def test_callers_take_turns_however_many_tokens_one_has() -> None:
    """A caller with a hundred tokens gets one turn, then the next caller does."""
    gate = Gate(room=1000)
    alice = gate.ask(ALICE)
    greedy = [gate.ask(credential("bob", str(n))) for n in range(100)]
    carol = gate.ask(CAROL)
    gate.leave(alice)
    assert greedy[0].is_granted
    gate.leave(greedy[0])
    assert granted(carol)
    assert not greedy[1].is_granted


def test_further_requests_of_the_turn_pass_those_who_wait_but_not_for_ever() -> None:
    """A request that returns to the app by way of its own call must not wait for itself."""
    gate = Gate()
    gate.ask(ALICE)
    bob = gate.ask(BOB)
    gate.pass_time(TURN_SECONDS - 0.1)
    assert gate.ask(ALICE).is_granted
    gate.pass_time(0.1)
    assert not gate.ask(ALICE).is_granted
    assert not granted(bob)


def test_two_callers_are_apart_by_the_quiet_time() -> None:
    """Work that one left behind has that long to be over; the same caller need not wait."""
    gate = Gate(quiet=0.05)
    alice = gate.ask(ALICE)
    bob = gate.ask(BOB)
    gate.leave(alice)
    assert not granted(bob)
    gate.pass_time(0.04)
    assert not granted(bob)
    gate.pass_time(0.01)
    assert granted(bob)
    gate.leave(bob)
    assert gate.ask(BOB).is_granted


def test_quiet_time_holds_for_who_comes_later_too() -> None:
    """Nobody waits when it begins; whoever comes meanwhile waits for its end."""
    gate = Gate(quiet=0.05)
    gate.leave(gate.ask(ALICE))
    bob = gate.ask(BOB)
    assert not granted(bob)
    gate.pass_time(0.05)
    assert granted(bob)


def test_whoever_came_back_in_the_quiet_time_is_waited_for() -> None:
    """The timer finds the turn taken again, and the next one is set when it ends."""
    gate = Gate(quiet=0.05)
    gate.leave(gate.ask(ALICE))
    bob = gate.ask(BOB)
    again = gate.ask(ALICE)
    assert granted(again)
    gate.pass_time(0.05)
    assert not granted(bob)
    gate.leave(again)
    gate.pass_time(0.05)
    assert granted(bob)


@pytest.mark.parametrize(("seconds", "over"), [(4.9, False), (5.0, True)])
def test_waiting_is_bounded(seconds: float, over: bool) -> None:
    """Over the bound the request is given up, and its place is free."""
    gate = Gate(wait=5.0)
    gate.ask(ALICE)
    bob = gate.ask(BOB)
    gate.pass_time(seconds)
    assert (bob.state == "over") is over
    assert gate.admission.waiting == (0 if over else 1)


def test_the_queue_is_bounded_and_one_caller_fills_a_quarter_of_it() -> None:
    """A caller over the share is refused alone; a full queue refuses everybody."""
    gate = Gate("request", room=8)
    gate.ask(ALICE)
    for name in ("a", "b", "c", "d"):
        gate.ask(credential(name))
        gate.ask(credential(name))
        if gate.admission.waiting < 8:
            assert gate.admission.ask(credential(name), 60.0) is Reason.LEDGER_SHARE
    assert gate.admission.ask(credential("e"), 60.0) is Reason.ADMISSION_FULL


def test_a_request_that_holds_its_turn_for_too_long_loses_it() -> None:
    """Its entry is closed, so that it can cause no calls while the next caller is in the app."""
    gate = Gate(wait=100.0)
    stream = gate.ask(ALICE, max_age=60.0)
    stream.entry = Entry(b"handle", ALICE, "r", CallTerms(60.0), gate.now)
    gate.pass_time(60.0)
    assert granted(stream)  # nobody waits: nobody minds
    bob = gate.ask(BOB)
    gate.pass_time(0.0)
    assert gate.closed == [stream.entry]
    assert not granted(stream)
    gate.pass_time(0.0)
    assert granted(bob)


def test_leaving_in_any_state_and_twice_is_harmless() -> None:
    """A caller who gives up waiting makes room; one who was let in frees the turn."""
    gate = Gate()
    alice, bob, carol = gate.ask(ALICE), gate.ask(BOB), gate.ask(CAROL)
    gate.leave(bob, bob)
    assert gate.admission.waiting == 1
    gate.leave(alice, alice)
    assert granted(carol)
    gate.leave(carol)
    assert gate.admission.waiting == 0


async def test_a_waiting_request_learns_what_was_decided() -> None:
    """Both outcomes end the wait, and one who has stopped waiting is no trouble."""
    gate = Gate(wait=5.0)
    alice, bob, carol, dave = (gate.ask(credential(name)) for name in ("a", "b", "c", "d"))
    granted_wait, given_up_wait = (asyncio.ensure_future(t.decided()) for t in (bob, carol))
    left = asyncio.ensure_future(dave.decided())
    left.cancel()
    gate.leave(alice)
    await granted_wait
    gate.pass_time(5.0)
    await given_up_wait
    assert (bob.state, carol.state, dave.state) == ("granted", "over", "over")
