"""Under any interleaving the attached credential is the one whose handle was sent, or none."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from sidecar.core.attachment import Attach, DestinationRules, Refuse, decide
from sidecar.core.attribution import (
    AttributionRules,
    Entry,
    Evidence,
    Grade,
    attribute,
    check,
)
from sidecar.core.principal import Credential, Principal
from sidecar.credentials.ledger import Ledger

RULES = AttributionRules("d", Grade.STRICT, Grade.STRICT, 60.0, 5)
REPORT = (b"python/1; grade=strict",)
RELAY = DestinationRules(relay=True)


class PodMachine(RuleBasedStateMachine):
    """Requests come and go, calls start and are sent later, time passes."""

    live = Bundle("live")
    ended = Bundle("ended")
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ledger = Ledger(8, clock=lambda: self.now)
        self.subjects: dict[bytes, str] = {}
        self.open: set[bytes] = set()

    @rule(target=live, subject=st.sampled_from(["alice", "bob", None]), lifetime=st.floats(1, 200))
    def arrive(self, subject: str | None, lifetime: float) -> Entry | None:
        """A request arrives; it may be refused for want of room."""
        credential = subject and Credential(
            Principal("s", "i", subject), subject.encode(), b"", self.now + lifetime, -math.inf
        )
        entry = self.ledger.open(credential or None, "r")
        if not isinstance(entry, Entry):
            return None
        self.subjects[entry.handle] = subject or ""
        self.open.add(entry.handle)
        return entry

    @rule(target=ended, entry=consumes(live))
    def end(self, entry: Entry | None) -> Entry | None:
        """A request ends, twice for good measure."""
        if entry is not None:
            self.ledger.close(entry)
            self.ledger.close(entry)
            self.open.discard(entry.handle)
        return entry

    @rule(seconds=st.floats(0, 90))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule(target=calls, entry=st.one_of(live, ended), twice=st.booleans())
    def call(self, entry: Entry | None, twice: bool) -> tuple[bytes, Attach] | None:
        """The app calls out with a handle it once got."""
        if entry is None:
            return None
        values = (entry.handle,) * (2 if twice else 1)
        result = attribute(Evidence(values, REPORT), RULES, self.ledger.find, self.now, self.now)
        attachment = decide(RELAY, result, None)
        if isinstance(attachment, Refuse):
            return None
        assert isinstance(attachment, Attach)
        assert not twice
        assert attachment.entry.handle == entry.handle
        return entry.handle, attachment

    @rule(call=calls)
    def send(self, call: tuple[bytes, Attach] | None) -> None:
        """The head is about to be written: the second check decides."""
        if call is None:
            return
        handle, attachment = call
        if check(attachment.entry, RULES, self.now, self.now) is not None:
            return
        credential = attachment.entry.credential
        assert credential is not None
        assert credential.token.decode() == self.subjects[handle]
        assert handle in self.open
        assert credential.expires_at > self.now
        attachment.entry.calls += 1
        assert attachment.entry.calls <= RULES.max_calls

    @invariant()
    def the_ledger_holds_exactly_what_is_open(self) -> None:
        """Nothing is lost and nothing stays behind."""
        assert len(self.ledger) == len(self.open) <= self.ledger.capacity


TestPod = PodMachine.TestCase
TestPod.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
