"""An inbound request: verify its token, check the rules, hand it to the app.

The only place where an inbound decision becomes an action. The request is forwarded on the
strength of a ``Permit`` and of nothing else.
"""

from math import inf
from typing import TYPE_CHECKING, Final, assert_never

from sidecar.core.attribution import Entry
from sidecar.core.bearer import read_bearer
from sidecar.core.headers import (
    AUTHORIZATION,
    CARRIER,
    CONTEXT,
    OVERRIDE,
    RESERVED,
    decision_line,
)
from sidecar.core.names import CONTEXT_HEADER, DECISION_LENGTH
from sidecar.core.outcome import Denial, Reason
from sidecar.core.policy import Permit, PolicyRule, authorize
from sidecar.core.principal import Credential
from sidecar.core.propagation import (
    FIRST_MARK,
    LISTS,
    Alias,
    IncomingContext,
    carried_back,
    without_members,
)
from sidecar.core.token_sources import AUTHORIZATION_SOURCE, Sought, TokenSources
from sidecar.core.transactions import is_transaction_line, refused
from sidecar.core.verification import (
    IntrospectionNeeded,
    KeyNeeded,
    Rejected,
    Verified,
)
from sidecar.credentials.admission import Turn
from sidecar.inbound.recorded import record

if TYPE_CHECKING:
    from sidecar.inbound.handler import InboundHandler, Inquiry

from sidecar.telemetry.metrics import RouteMetrics
from sidecar.wire.answers import refusal
from sidecar.wire.exchange import Action, Answer, Forward, Pending, Timing
from sidecar.wire.heads import RequestHead, ResponseHead

_CONTEXT_LINE = CONTEXT_HEADER.encode() + b": %b\r\n"
_BEARER: Final = b"Bearer "


class InboundExchange:
    """One request from a caller to the app."""

    __slots__ = (
        "_aliases", "_context", "_credential", "_decision", "_denial", "_ends_at", "_enforced",
        "_entry", "_generation", "_handler", "_head", "_identity", "_inquiry", "_lines", "_path",
        "_permit", "_query", "_route", "_rule", "_sought", "_token", "_transaction",
        "_transaction_generation", "_transactions_sent", "_turn",
    )  # fmt: skip

    def __init__(self, handler: "InboundHandler", head: RequestHead) -> None:
        self._handler = handler
        self._head = head
        self._decision = handler.ids.draw(DECISION_LENGTH).decode()
        self._ends_at = inf if handler.deadline is None else handler.deadline.of(head.lines)
        self._route: RouteMetrics = handler.no_route
        self._path = head.target
        self._query = b""
        self._rule: PolicyRule | None = None
        self._token = b""
        self._credential: Credential | None = None
        self._identity = b""
        self._generation = 0
        self._inquiry: Inquiry | None = None
        self._permit: Permit | None = None
        self._turn: Turn | None = None
        self._context: IncomingContext | None = None
        self._aliases: tuple[Alias, ...] = ()
        self._entry: Entry | None = None
        self._lines = b""
        self._sought: Sought | None = None
        self._transactions_sent: list[bytes] | None = None
        self._transaction: Credential | None = None
        self._transaction_generation = 0
        self._denial: Denial | None = None
        self._enforced = True

    def start(self) -> Action:
        """Find the rule, and the token where the rule asks for one."""
        handler, head = self._handler, self._head
        raw_path, mark, query = head.target.partition(b"?")
        found = handler.find(head.method, raw_path, head.host)
        if isinstance(found, Denial):
            return self._refuse(found)
        self._path, rule, self._route = found
        self._query = mark + query
        self._rule = rule
        sent = self._take_out_ours()
        if handler.sources is not None:
            return self._look_around(handler.sources, sent, rule)
        if rule.requirement is None and not rule.optional:
            return self._authorize(rule)
        known = self._recall(sent)
        if known is not None:
            return self._believe(known, rule)
        self._token = b""
        token = read_bearer(sent)
        return self._judge(_NO_TOKEN if token is None else token, rule)

    def _look_around(self, sources: TokenSources, sent: list[bytes], rule: PolicyRule) -> Action:
        """Go on as ``start`` does where the token may be elsewhere than in Authorization."""
        sought = sources.take(sent, self._head.lines, self._head.marked, self._query)
        self._sought = sought
        self._query = sought.query
        if rule.requirement is None and not rule.optional:
            return self._authorize(rule)
        return self._judge(sought.token, rule)

    def _judge(self, token: bytes | Denial, rule: PolicyRule) -> Action:
        """Verify *token*; where there is none, that may be all right with the rule."""
        if isinstance(token, Denial):
            if rule.optional and token.reason is Reason.TOKEN_MISSING:
                return self._authorize(rule)
            return self._refuse(token)
        self._token = token
        return self._verify(rule, may_wait=True)

    def resume(self) -> Action:
        if self._permit is not None:
            return self._forward(self._permit)
        assert self._rule is not None
        if self._credential is not None:
            return self._look_at_transaction(self._rule, may_wait=False)
        if self._inquiry is not None:
            return self._answered(self._inquiry, self._rule)
        return self._verify(self._rule, may_wait=False)

    def _take_out_ours(self) -> list[bytes]:
        """Drop what only we may set, and the credential; return the Authorization values."""
        head = self._head
        sent: list[bytes] = []
        for mark, index, value in head.marked:
            if mark == AUTHORIZATION:
                sent.append(value)
                head.lines[index] = b""
            elif mark in (RESERVED, CONTEXT, CARRIER, OVERRIDE):
                if (
                    self._handler.transactions is not None
                    and mark == RESERVED
                    and is_transaction_line(head.lines[index])
                ):
                    self._transactions_sent = [*(self._transactions_sent or ()), value]
                head.lines[index] = b""
            elif mark >= FIRST_MARK:
                if not self._handler.settings.carriers:
                    if mark in LISTS:
                        head.lines[index] = without_members(head.lines[index], value)
                    continue
                if self._context is None:
                    self._context = self._new_context()
                head.lines[index] = self._context.receive(mark, head.lines[index], value)
        return sent

    def _new_context(self) -> IncomingContext:
        return IncomingContext(self._handler.settings.carriers, self._handler.random)

    def _recall(self, sent: list[bytes]) -> Verified | None:
        """Return what is known of the token, as nearly everybody writes it: it was read before."""
        if len(sent) != 1 or not sent[0].startswith(_BEARER):
            return None
        handler = self._handler
        self._token = sent[0][len(_BEARER) :]
        return handler.verifier.recall(self._token, now=handler.wall_clock())

    def _believe(self, verified: Verified, rule: PolicyRule) -> Action:
        self._credential = verified.credential
        self._identity = verified.identity
        self._generation = self._handler.verifier.generation
        if self._handler.transactions is not None:
            return self._look_at_transaction(rule, may_wait=True)
        return self._authorize(rule)

    def _look_at_transaction(self, rule: PolicyRule, *, may_wait: bool) -> Action:
        """Verify the transaction token, which counts only beside an access token that is good."""
        handler = self._handler
        transactions, credential = handler.transactions, self._credential
        assert transactions is not None
        assert credential is not None
        sent = self._transactions_sent or ()
        found = transactions.judge(sent, credential, handler.wall_clock())
        if isinstance(found, Verified):
            self._transaction = found.credential
            self._transaction_generation = transactions.verifier.generation
            self._identity += found.identity
            return self._authorize(rule)
        if isinstance(found, Denial):
            return self._refuse(found)
        if found is None:
            return self._authorize(rule)
        source = handler.keys[found.issuer_name]
        reason = source.refusal(found.kid)
        if reason is None and may_wait:
            self._generation = -1  # whatever was verified is old by then
            return Pending(source.obtain(), self._ends_at)
        denial = Denial(
            reason or Reason.KEYS_UNAVAILABLE,
            f"issuer {found.issuer_name}: {_key_detail(reason)}",
        )
        return self._refuse(refused(denial) if reason is Reason.KEY_UNKNOWN else denial)

    def _verify(self, rule: PolicyRule, *, may_wait: bool) -> Action:
        handler = self._handler
        match handler.verifier.verify(self._token, now=handler.wall_clock()):
            case Verified() as verified:
                return self._believe(verified, rule)
            case Rejected(denial=denial):
                return self._refuse(denial)
            case KeyNeeded(issuer_name=issuer, kid=kid):
                source = handler.keys[issuer]
                reason = source.refusal(kid)
                if reason is None and may_wait:
                    return Pending(source.obtain(), self._ends_at)
                return self._refuse(
                    Denial(
                        reason or Reason.KEYS_UNAVAILABLE, f"issuer {issuer}: {_key_detail(reason)}"
                    )
                )
            case IntrospectionNeeded(issuer_name=issuer):
                return self._inquire(issuer)
            case never:
                assert_never(never)

    def _inquire(self, issuer: str) -> Action:
        inquiry = self._handler.introspection[issuer].ask(self._token)
        if isinstance(inquiry, Denial):
            return self._refuse(inquiry)
        self._inquiry = inquiry
        return Pending(inquiry.settled(), self._ends_at)

    def _answered(self, inquiry: "Inquiry", rule: PolicyRule) -> Action:
        match inquiry.verdict:
            case Verified() as verified:
                action = self._believe(verified, rule)
                self._generation = -1  # keys may have changed between the answer and now
                return action
            case Rejected(denial=denial):
                return self._refuse(denial)
            case never:
                assert_never(never)

    def _authorize(self, rule: PolicyRule) -> Action:
        principal = None if self._credential is None else self._credential.principal
        now = self._handler.wall_clock() if rule.asks_for_time else 0.0
        match authorize(rule, principal, self._path, now):
            case Permit() as permit:
                return self._admit(permit)
            case Denial() as denial:
                return self._refuse(denial)
            case never:
                assert_never(never)

    def _admit(self, permit: Permit) -> Action:
        """Wait for a turn where callers must not be in the app together."""
        admission = self._handler.admission
        if admission is None or not permit.rule.terms.alone:
            return self._forward(permit)
        turn = admission.ask(self._credential, permit.rule.terms.max_age_seconds)
        if isinstance(turn, Reason):
            return self._refuse(Denial(turn))
        self._turn = turn
        if turn.is_granted:
            return self._forward(permit)
        self._permit = permit
        self._generation = self._transaction_generation = -1  # what was verified is old by then
        return Pending(turn.decided(), self._ends_at)

    def _forward(self, permit: Permit) -> Action:
        """Send the request to the app, which only a permit allows."""
        if self._turn is not None and not self._turn.is_granted:
            return self._refuse(_WAITED)
        if permit.unmet is not None:
            self._denial = permit.unmet
            self._enforced = False
        return Forward(self._handler.pool, self._path + self._query, self._ends_at)

    def commit(self) -> bytes | Answer:
        """Enter the request in the ledger; from here on its calls may use its token.

        The token is judged again if keys changed while the request waited for a connection, and in
        any case when the request is repeated. A repeated one stays under its entry and handle: it
        is still the same request of the same caller, and whatever an attempt before it set off.
        """
        assert self._rule is not None
        if self._turn is not None and not self._turn.is_granted:  # held for too long meanwhile
            return self._refuse(_WAITED)
        entry = self._entry
        if entry is not None:
            self._handler.reporter.repeated()
            self._generation = self._transaction_generation = -1
        if self._credential is not None:
            denial = self._withdrawn()
            if denial is not None:
                return self._refuse(denial)
        handler = self._handler
        if entry is not None:
            if not entry.live:
                return self._refuse(_ENDED)
            return self._lines
        ledger = handler.ledger
        handle = ledger.new_handle()
        lines = _CONTEXT_LINE % handle + self._identity
        if handler.settings.carriers:
            context = self._context or self._new_context()
            lines += context.lines(handle)
            self._aliases = context.aliases
        opened = ledger.open(
            self._credential, self._route.name, self._rule.terms, handle, self._aliases
        )
        if isinstance(opened, Reason):
            return self._refuse(Denial(opened))
        self._entry = opened
        opened.decision = self._decision
        opened.transaction = self._transaction
        opened.deadline = self._ends_at
        if self._turn is not None:
            self._turn.entry = opened
        if self._token and handler.settings.token_to_app != "withhold":  # noqa: S105 - a choice
            forwards = handler.settings.token_to_app == "forward"  # noqa: S105
            lines += b"authorization: Bearer %b\r\n" % (self._token if forwards else handle)
        if handler.signed is not None and self._credential is not None:
            lines += handler.signed.line(self._credential, handler.wall_clock())
        if not self._head.host:
            lines += handler.host_line
        self._lines = lines
        return lines

    def _withdrawn(self) -> Denial | None:
        handler = self._handler
        transactions, transaction = handler.transactions, self._transaction
        if transactions is not None and transaction is not None:
            generation = self._transaction_generation
            denial = transactions.withdrawn(transaction, generation, handler.wall_clock())
            if denial is not None:
                return denial
        if self._generation == handler.verifier.generation:
            return None
        now = handler.wall_clock()
        match handler.verifier.verify(self._token, now=now):
            case Verified():
                return None
            case Rejected(denial=denial):
                return denial
            case KeyNeeded():
                return Denial(Reason.KEY_UNKNOWN, "the token's key was withdrawn meanwhile")
            case IntrospectionNeeded(vouched=vouched):
                # The issuer said yes when the request began, and a request is not asked about
                # twice: of what it said, only the end is looked at again.
                credential = self._credential
                if vouched or credential is None or now < credential.expires_at:
                    return None
                return Denial(Reason.TOKEN_EXPIRED, "the token expired while the request waited")
            case never:
                assert_never(never)

    def again(self, head: ResponseHead) -> Action | None:  # noqa: ARG002
        return None  # what the app refuses is for the caller

    def respond(self, head: ResponseHead) -> None:
        """Drop what is ours from the app's answer, wherever the app put it."""
        for mark, index, value in head.marked:
            if mark in (RESERVED, CONTEXT, CARRIER):
                head.lines[index] = b""
            elif mark >= FIRST_MARK:
                head.lines[index] = carried_back(
                    mark, head.lines[index], value, self._original
                ).line
        if self._sought is not None:
            self._sought.correct(head.status, head.lines)
        if self._handler.settings.tells_decision:
            head.lines.append(decision_line(self._decision))
        entry = self._entry
        # Not ``in``, which makes and drops an exception wherever bytes are looked for in bytes.
        if entry is not None and b"".join(head.lines).find(entry.handle) >= 0:
            head.lines[:] = [b"" if entry.handle in line else line for line in head.lines]

    def _original(self, key: bytes) -> Alias | None:
        return next((alias for alias in self._aliases if alias.key == key), None)

    def fail(self, reason: Reason, detail: str) -> Answer:
        return self._refuse(Denial(reason, detail))

    def finish(self, status: int, timing: Timing, fault: Reason | None, *, whole: bool) -> None:
        if self._entry is not None:
            ledger = self._handler.ledger
            # Nobody who has left may go on causing calls.
            (ledger.end if whole else ledger.close)(self._entry)
        self._leave()
        if fault is not None:
            self._denial = Denial(fault, "the response was begun and could not be completed")
            self._enforced = True
        self._handler.reporter.ended(
            method=self._head.method,
            path=self._path,
            route=self._route,
            status=status,
            duration_seconds=timing.duration,
            overhead_seconds=timing.overhead,
            decision=self._decision,
            credential=self._credential,
            denial=self._denial,
            enforced=self._enforced,
            host=self._head.host,
            rule=self._rule,
            source=AUTHORIZATION_SOURCE if self._sought is None else self._sought.source,
            token=self._token,
            transaction=self._transaction,
        )
        decisions = self._handler.decisions
        if decisions is not None:
            record(
                decisions,
                self._head,
                self._path,
                self._rule,
                status,
                self._decision,
                self._credential,
                self._denial,
                enforced=self._enforced,
                elsewhere=self._handler.sources is not None,
                transaction=self._transaction,
            )

    def _leave(self) -> None:
        if self._turn is not None and self._handler.admission is not None:
            self._handler.admission.leave(self._turn)

    def _refuse(self, denial: Denial) -> Answer:
        # An app that never saw the request whole, or did not answer it, has no more calls.
        if self._entry is not None:
            self._handler.ledger.close(self._entry)
        self._leave()
        self._denial = denial
        self._enforced = True
        return refusal(denial, decision=self._decision, to_app=False)


_ENDED: Final = Denial(
    Reason.UPSTREAM_RESET, "and the request's entry was closed before it could be repeated"
)
_NO_TOKEN: Final = Denial(Reason.TOKEN_MISSING)
_WAITED: Final = Denial(
    Reason.ADMISSION_TIMEOUT, "another caller's requests were in the app (attribution.exclusive)"
)


def _key_detail(reason: Reason | None) -> str:
    if reason is Reason.KEY_UNKNOWN:
        return "its key set, fetched just now, has no such key for this algorithm"
    return "its key set could not be loaded"
