"""The ledger: exact, bounded, and forgetful in the right way."""

import hashlib
import math
import os
import re

from sidecar.core.attribution import CallTerms, Entry, Gone
from sidecar.core.outcome import Reason
from sidecar.core.principal import Credential, Principal
from sidecar.core.propagation import Alias
from sidecar.credentials.ledger import CLOSED_SECONDS, HandleSource, Ledger


class ManualClock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


TERMS = CallTerms(60.0)


def credential(subject: str, token: bytes = b"") -> Credential:
    """Make a credential of *subject*."""
    token = token or subject.encode()
    digest = hashlib.sha256(token).digest()
    principal = Principal("shop", "https://i.example", subject)
    return Credential(principal, token, digest, math.inf, -math.inf)


def attempt(
    ledger: Ledger, subject: str | None, terms: CallTerms = TERMS, *aliases: Alias
) -> Entry | Reason:
    """Open an entry, if it fits."""
    owned = None if subject is None else credential(subject)
    return ledger.open(owned, "all", terms, ledger.new_handle(), aliases)


def opened(ledger: Ledger, subject: str | None, terms: CallTerms = TERMS, *aliases: Alias) -> Entry:
    """Open an entry that must fit."""
    entry = attempt(ledger, subject, terms, *aliases)
    assert isinstance(entry, Entry)
    return entry


def test_an_entry_is_found_while_live_and_dead_afterwards() -> None:
    """Open, find, close: the handle then reads dead, never live again."""
    ledger = Ledger(16, clock=ManualClock())
    entry = opened(ledger, "alice")
    assert ledger.find(entry.handle) is entry
    assert len(ledger) == 1
    ledger.close(entry)
    assert ledger.find(entry.handle) is Gone.DEAD
    assert len(ledger) == 0
    assert not entry.live


def test_closing_wipes_the_credential_and_is_idempotent() -> None:
    """After the end nothing is left to attach, and ending twice counts once."""
    ledger = Ledger(16, clock=ManualClock())
    entry, other = opened(ledger, "alice"), opened(ledger, "alice")
    ledger.close(entry)
    ledger.close(entry)
    assert entry.credential is None
    assert ledger.find(other.handle) is other
    ledger.close(other)
    assert len(ledger) == 0


def test_credentials_that_no_longer_hold_end_their_entries() -> None:
    """The others stay, the anonymous ones too, and ending the request later changes nothing."""
    ledger = Ledger(16, clock=ManualClock())
    alice, bob, anyone = opened(ledger, "alice"), opened(ledger, "bob"), opened(ledger, None)
    ledger.close_unless(lambda credential: credential.principal.subject != "alice")
    assert ledger.find(alice.handle) is Gone.DEAD
    assert alice.credential is None
    assert ledger.find(bob.handle) is bob
    assert ledger.find(anyone.handle) is anyone
    ledger.close(alice)
    assert len(ledger) == 2


def test_a_handle_that_was_never_ours_is_unknown() -> None:
    """A guess finds nothing."""
    assert Ledger(16, clock=ManualClock()).find(b"sdc1" + b"0" * 28) is None


def test_dead_fades_to_unknown_just_after_its_time() -> None:
    """Remembered for ten minutes and no longer."""
    clock = ManualClock()
    ledger = Ledger(16, clock=clock)
    entry = opened(ledger, "alice")
    ledger.close(entry)
    clock.now += CLOSED_SECONDS
    assert ledger.find(entry.handle) is Gone.DEAD
    clock.now += 0.1
    assert ledger.find(entry.handle) is None


def test_a_full_ledger_refuses_the_new_and_keeps_the_live() -> None:
    """No live entry is ever evicted."""
    ledger = Ledger(4, clock=ManualClock())
    entries = [opened(ledger, name) for name in "abcd"]
    assert attempt(ledger, "e") is Reason.LEDGER_FULL
    assert all(ledger.find(entry.handle) is entry for entry in entries)
    ledger.close(entries[0])
    opened(ledger, "e")


def test_one_subject_holds_at_most_a_quarter() -> None:
    """A caller over its share is refused alone; others still fit."""
    ledger = Ledger(8, clock=ManualClock())
    first = opened(ledger, "alice")
    opened(ledger, "alice")
    assert attempt(ledger, "alice") is Reason.LEDGER_SHARE
    opened(ledger, "bob")
    ledger.close(first)
    opened(ledger, "alice")


def test_anonymous_callers_have_a_partition_of_their_own() -> None:
    """A flood of anonymous requests takes no room from those with a token."""
    ledger = Ledger(4, clock=ManualClock())
    anonymous = opened(ledger, None)
    assert attempt(ledger, None) is Reason.LEDGER_FULL
    for name in "abcd":
        opened(ledger, name)
    assert attempt(ledger, "e") is Reason.LEDGER_FULL
    ledger.close(anonymous)
    opened(ledger, None)


def test_handles_have_their_form_and_do_not_repeat() -> None:
    """``sdc1`` and 28 characters of [0-9a-z], all different."""
    ledger = Ledger(100_000, clock=ManualClock())
    handles = {opened(ledger, str(n)).handle for n in range(5_000)}
    assert len(handles) == 5_000
    assert all(re.fullmatch(rb"sdc1[0-9a-z]{28}", handle) for handle in handles)


def test_every_character_is_equally_likely() -> None:
    """All 256 octets, sent once each, give every character seven times: no bias by remainder."""
    source = HandleSource(lambda _count: bytes(range(256)))
    drawn = source.draw(252)
    assert sorted(set(drawn)) == sorted(b"0123456789abcdefghijklmnopqrstuvwxyz")
    assert {drawn.count(character) for character in set(drawn)} == {7}


def test_randomness_is_never_used_twice() -> None:
    """Each draw takes the next characters, across blocks too."""
    blocks = []

    def random(count: int) -> bytes:
        blocks.append(count)
        return os.urandom(count)

    source = HandleSource(random)
    drawn = [source.draw(28) for _ in range(1_000)]
    assert len(set(drawn)) == 1_000
    assert len(blocks) > 1


# --- what else stands for an entry ---


def test_an_alias_finds_its_entry_and_dies_with_it() -> None:
    """A request id of ours reads dead once its request has ended, and gives back the original."""
    ledger = Ledger(16, clock=ManualClock())
    alias = Alias(b"minted", b"original")
    entry = opened(ledger, "alice", TERMS, alias)
    assert ledger.find(b"minted") is entry
    assert ledger.original(b"minted") == alias
    ledger.close(entry)
    assert ledger.find(b"minted") is Gone.DEAD
    assert ledger.original(b"minted") is None
    assert ledger.find(b"never minted") is None


def test_a_token_finds_the_newest_live_entry_that_came_with_it() -> None:
    """Several requests may hold one token; the last to end takes it along."""
    ledger = Ledger(16, clock=ManualClock())
    older, newer = opened(ledger, "alice"), opened(ledger, "alice")
    bob = opened(ledger, "bob")
    opened(ledger, None)
    assert [*ledger.find_token(b"alice")] == [newer, older]
    ledger.close(newer)
    assert [*ledger.find_token(b"alice")] == [older]
    ledger.close(older)
    assert not [*ledger.find_token(b"alice")]
    assert [*ledger.find_token(b"bob")] == [bob]
    assert not [*ledger.find_token(b"")]


def test_an_entry_lingers_only_where_its_rule_says_so() -> None:
    """It stays until its time is over, keeps its place, and closing ends it at once."""
    clock = ManualClock()
    ledger = Ledger(16, clock=clock)
    plain, patient = opened(ledger, "alice"), opened(ledger, "bob", CallTerms(60.0, 5.0))
    cut_short = opened(ledger, "carol", CallTerms(60.0, 5.0))
    for entry in (plain, patient, cut_short):
        ledger.end(entry)
    assert ledger.find(plain.handle) is Gone.DEAD
    assert ledger.find(patient.handle) is patient
    assert len(ledger) == 2
    ledger.close(cut_short)
    clock.now += 5.0
    ledger.sweep(clock.now)
    assert ledger.find(patient.handle) is patient
    clock.now += 0.1
    ledger.sweep(clock.now)
    assert ledger.find(patient.handle) is Gone.DEAD
    assert len(ledger) == 0


def test_ending_twice_does_not_linger_twice_as_long() -> None:
    """The second end is the last."""
    clock = ManualClock()
    ledger = Ledger(16, clock=clock)
    entry = opened(ledger, "alice", CallTerms(60.0, 5.0))
    ledger.end(entry)
    ledger.end(entry)
    assert not entry.live
    assert len(ledger) == 0
