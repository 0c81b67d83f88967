"""Under any interleaving the attached credential is the one of the entry that is named, or none.

The machine plays a whole pod without its sockets: requests come, end, abort and are retried,
tokens expire and are withdrawn, responses linger, and the app calls out with any mixture of
evidence that it ever got hold of, its own request ids and credentials included.
"""

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from sidecar.core.attachment import Attach, DestinationRules, Leave, decide, decide_unattributed
from sidecar.core.attribution import (
    Attributed,
    AttributionRules,
    CallTerms,
    Claim,
    Entry,
    Evidence,
    Grade,
    Method,
    Unattributed,
    attribute,
    check,
)
from sidecar.core.principal import Credential, Principal
from sidecar.core.propagation import Alias
from sidecar.credentials.ledger import Ledger

MAX_CALLS = 5
REPORTS = {
    None: (),
    "strict": (b"python/1; grade=strict",),
    "standard": (b"python/1; grade=standard",),
}
RELAY = DestinationRules(attributes=True)
METHODS: tuple[Method, ...] = ("header", "placeholder", "baggage", "tracestate", "request_id")


@dataclass(eq=False)
class Request:
    """What the test knows of one inbound request, whatever the ledger thinks of it."""

    entry: Entry
    handle: bytes
    request_id: bytes
    subject: str | None
    token: bytes
    expires_at: float
    opened_at: float
    linger: float
    ended_at: float | None = None
    is_over: bool = False
    """Closed for good: aborted, withdrawn, retried, or ended without lingering."""


@dataclass(frozen=True)
class Call:
    """A call whose head has not been written yet."""

    named: frozenset[Request]
    token: bytes
    attachment: Attach
    rules: AttributionRules


class PodMachine(RuleBasedStateMachine):
    """Requests come and go, calls start and are sent later, time passes."""

    requests = Bundle("requests")
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ledger = Ledger(12, clock=lambda: self.now)
        self.known: list[Request] = []
        self.tokens = 0
        self.sent = 0
        self.held_back = 0

    def enter(self, subject: str | None, token: bytes, expires_at: float, linger: float) -> None:
        """Put a request in, if it fits."""
        owned = None
        if subject is not None:
            principal = Principal("s", "i", subject)
            digest = hashlib.sha256(token).digest()
            owned = Credential(principal, token, digest, expires_at, -math.inf)
        request_id = b"minted-%d" % len(self.known)
        entry = self.ledger.open(
            owned,
            "r",
            CallTerms(60.0, linger),
            self.ledger.new_handle(),
            (Alias(request_id, b"x"),),
        )
        if isinstance(entry, Entry):
            self.known.append(
                Request(
                    entry, entry.handle, request_id, subject, token, expires_at, self.now, linger
                )
            )

    @initialize(target=requests)
    def begin(self) -> MultipleResults[Request]:
        """A pod in use: two users, one of them twice with one token, one who lingers, nobody."""
        for subject, token, expires_at, linger in (
            ("alice", b"a", 100.0, 0.0),
            ("bob", b"b", 25.0, 0.0),
            ("alice", b"a", 100.0, 10.0),
            ("bob", b"c", 90.0, 10.0),
            (None, b"", 0.0, 0.0),
        ):
            self.enter(subject, token, expires_at, linger)
        return multiple(*self.known)

    @rule(
        target=requests,
        subject=st.sampled_from(["alice", "bob", None]),
        lifetime=st.sampled_from([5.0, 30.0, 200.0]),
        linger=st.sampled_from([0.0, 0.0, 10.0]),
    )
    def arrive(self, subject: str | None, lifetime: float, linger: float) -> Request | None:
        """A request arrives with a token of its own; it may be refused for want of room."""
        self.tokens += 1
        before = len(self.known)
        token = b"%d" % self.tokens if subject else b""
        self.enter(subject, token, self.now + lifetime, linger)
        return self.known[-1] if len(self.known) > before else None

    @rule(target=requests, earlier=requests)
    def arrive_with_the_same_token(self, earlier: Request | None) -> Request | None:
        """Another request of the same caller, with the very same token."""
        if earlier is None or earlier.subject is None:
            return None
        before = len(self.known)
        self.enter(earlier.subject, earlier.token, earlier.expires_at, 0.0)
        return self.known[-1] if len(self.known) > before else None

    @rule(request=requests)
    def end(self, request: Request | None) -> None:
        """The response of a request is complete; a second time nothing happens but the end."""
        if request is None or request.is_over:
            return
        if request.linger and request.ended_at is None:
            request.ended_at = self.now
        else:
            request.is_over = True
        self.ledger.end(request.entry)

    @rule(request=consumes(requests))
    def abort(self, request: Request | None) -> None:
        """The caller leaves."""
        if request is not None:
            self.ledger.close(request.entry)
            self.ledger.close(request.entry)
            request.is_over = True

    @rule(target=requests, request=consumes(requests))
    def retry(self, request: Request | None) -> Request | None:
        """A new attempt closes the old entry before it gets its own handle."""
        if request is None or request.is_over or request.subject is None:
            return request
        self.ledger.close(request.entry)
        request.is_over = True
        before = len(self.known)
        self.enter(request.subject, request.token, request.expires_at, request.linger)
        return self.known[-1] if len(self.known) > before else None

    @rule(subject=st.sampled_from(["alice", "bob"]))
    def withdraw(self, subject: str) -> None:
        """The keys change: one subject's tokens hold no more, in the middle of their requests."""
        self.ledger.close_unless(lambda credential: credential.principal.subject != subject)
        for request in self.known:
            if request.subject == subject:
                request.is_over = True

    @rule(seconds=st.sampled_from([0.5, 5.0, 10.0, 10.5, 31.0]), swept=st.booleans())
    def wait(self, seconds: float, swept: bool) -> None:
        """Time passes, with or without the sweep that goes with it."""
        self.now += seconds
        if swept:
            self.ledger.sweep(self.now)
            for request in self.known:
                if request.ended_at is not None and self.now - request.ended_at > request.linger:
                    request.is_over = True

    @rule(
        target=calls,
        one=requests,
        methods=st.sets(st.sampled_from(METHODS), max_size=3),
        other=st.one_of(st.none(), st.none(), st.tuples(requests, st.sampled_from(METHODS))),
        said=st.one_of(st.none(), st.none(), st.just("its own"), requests, st.just("a key")),
        noise=st.sampled_from([None, None, None, None, "own id", "forged", "junk", "twice"]),
        report=st.sampled_from([None, "strict", "standard"]),
        minimum=st.sampled_from([Grade.COMPAT, Grade.COMPAT, Grade.STANDARD, Grade.STRICT]),
    )
    def call(
        self,
        one: Request | None,
        methods: set[Method],
        other: tuple[Request | None, Method] | None,
        said: "Request | str | None",
        noise: str | None,
        report: str | None,
        minimum: Grade,
    ) -> Call | None:
        """The app calls out with whatever it got hold of, mostly of one request."""
        if one is None:
            return None
        pairs = [(one, method) for method in sorted(methods)]
        if other is not None and other[0] is not None:
            pairs.append((other[0], other[1]))
        claims = [
            Claim(method, request.request_id if method == "request_id" else request.handle)
            for request, method in pairs
            if method != "header"
        ]
        context = tuple(request.handle for request, method in pairs if method == "header")
        # A request id that is not known any more could be the app's own: it says nothing. (In the
        # table of what has ended, a newer id takes the place of an older one now and then.)
        requests = {
            request
            for request, method in pairs
            if method != "request_id" or self.ledger.find(request.request_id) is not None
        }
        statement: bytes | None = None
        if isinstance(said, Request):
            statement = said.token
        elif said == "its own":
            statement = one.token
        elif said == "a key":
            statement = b"a key of the app's own"
        match noise:
            case "own id":
                claims.append(Claim("request_id", b"the app's own"))
            case "forged":
                claims.append(Claim("baggage", b"sdc1" + b"0" * 28))
            case "junk":
                claims.append(Claim("tracestate", b"junk"))
        fault = "twice" if noise == "twice" else ""
        evidence = Evidence(context, REPORTS[report], tuple(claims), statement, fault)
        rules = AttributionRules("d", minimum, Grade.STRICT, MAX_CALLS)

        assert decide_unattributed(RELAY, statement, self.ledger) is None
        result = attribute(evidence, rules, self.ledger, self.now, self.now)
        attachment = decide(RELAY, result)
        assert not isinstance(attachment, Leave)
        if not isinstance(attachment, Attach):
            assert isinstance(result, Unattributed) or result.entry.credential is None
            return None
        assert isinstance(result, Attributed)
        assert noise not in ("forged", "junk", "twice")
        assert len(context) <= 1
        self.assert_may_cause(requests, statement, attachment)
        credential = attachment.entry.credential
        assert credential is not None
        return Call(frozenset(requests), credential.token, attachment, rules)

    def assert_may_cause(
        self, named: set[Request], statement: bytes | None, attachment: Attach
    ) -> None:
        """All evidence names one live request, and its credential is what would be attached."""
        credential = attachment.entry.credential
        assert credential is not None
        if statement is not None:
            assert credential.token == statement
        assert named or statement is not None
        for request in named:
            assert request.entry is attachment.entry
            assert request.token == credential.token
        owner = next(each for each in self.known if each.entry is attachment.entry)
        assert not owner.is_over
        assert owner.token == credential.token
        assert owner.expires_at > self.now
        assert self.now - owner.opened_at <= 60.0
        if owner.ended_at is not None:
            assert self.now - owner.ended_at <= owner.linger
            assert attachment.grade >= Grade.STANDARD

    @rule(call=calls)
    def send(self, call: Call | None) -> None:
        """The head is about to be written: the second check decides."""
        if call is None:
            return
        entry = call.attachment.entry
        if check(entry, call.attachment.grade, call.rules, self.now, self.now) is not None:
            self.held_back += 1
            return
        self.assert_may_cause(set(call.named), call.token, call.attachment)
        entry.calls += 1
        assert entry.calls <= MAX_CALLS
        self.sent += 1

    @invariant()
    def the_ledger_holds_exactly_what_is_open(self) -> None:
        """Nothing is lost and nothing stays behind."""
        open_now = sum(not request.is_over for request in self.known)
        assert len(self.ledger) == open_now <= self.ledger.capacity


def walk(seed: int, steps: int) -> Counter[str]:
    """Play the machine at random, mostly with evidence that ought to be believed."""
    random = Random(seed)
    pod = PodMachine()
    calls: list[Call] = []
    happened: Counter[str] = Counter()

    def some() -> Request | None:
        """A live request mostly; sometimes one of the last that were."""
        live = [request for request in pod.known if not request.is_over]
        if not pod.known or (live and random.random() < 0.9):
            return random.choice(live) if live else None
        return random.choice(pod.known[-8:])

    for _ in range(steps):
        match random.choices(STEPS, WEIGHTS)[0]:
            case "arrive":
                who = random.choice(["alice", "bob", None])
                pod.arrive(who, random.choice([5.0, 30.0, 200.0]), random.choice([0.0, 10.0]))
            case "again":
                pod.arrive_with_the_same_token(some())
            case "end":
                pod.end(some())
            case "abort":
                pod.abort(some())
            case "retry":
                pod.retry(some())
            case "withdraw":
                pod.withdraw(random.choice(["alice", "bob"]))
            case "wait":
                pod.wait(random.choice([0.1, 0.5, 2.0, 31.0]), random.random() < 0.5)
            case "call":
                call = pod.call(
                    some(),
                    set(random.sample(METHODS, random.choice([0, 1, 1, 2]))),
                    (some(), random.choice(METHODS)) if random.random() < 0.1 else None,
                    random.choice([None, None, None, "its own", some(), "a key"]),
                    random.choice([None] * 12 + ["own id", "forged", "junk", "twice"]),
                    random.choice([None, "strict", "standard"]),
                    random.choice([Grade.COMPAT, Grade.STANDARD, Grade.STRICT]),
                )
                if isinstance(call, Call):
                    calls.append(call)
                happened["attached" if call else "refused"] += 1
            case "send" if calls:
                pod.send(random.choice(calls[-4:]))
        pod.the_ledger_holds_exactly_what_is_open()
    happened.update({"sent": pod.sent, "held back": pod.held_back})
    return happened


STEPS = ("arrive", "again", "end", "abort", "retry", "withdraw", "wait", "call", "send")
WEIGHTS = (10, 3, 6, 2, 2, 0.2, 6, 40, 20)


@pytest.mark.parametrize("seed", range(4))
def test_a_long_walk_attaches_often_and_never_wrongly(seed: int) -> None:
    """The same machine without a search for the smallest example: many more calls that succeed."""
    happened = walk(seed, 5_000)
    assert happened["attached"] > 100
    assert happened["sent"] > 50
    assert happened["held back"] > 10
    assert happened["refused"] > 200


TestPod = PodMachine.TestCase
TestPod.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
