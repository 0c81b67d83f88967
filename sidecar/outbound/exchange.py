"""An outbound request: find the inbound request that caused it, attach a token for its caller.

The only place where an attribution becomes an action. What was decided is checked once more just
before the head is written, because a call may wait for a token or a connection while its caller
leaves.
"""

import re
from typing import TYPE_CHECKING, Final, assert_never

from sidecar.core.attachment import (
    Accompany,
    Attach,
    Attachment,
    AttachOwn,
    Leave,
    Refuse,
    decide,
    decide_accompanied,
    decide_unattributed,
)
from sidecar.core.attribution import (
    HANDLE_PATTERN,
    NO_EVIDENCE,
    Attributed,
    Entry,
    Evidence,
    Grade,
    Unattributed,
    check,
)
from sidecar.core.headers import AUTHORIZATION, CARRIER, CONTEXT, RESERVED, decision_line
from sidecar.core.names import DECISION_LENGTH, HANDLE_PREFIX
from sidecar.core.obtained import Failure, ObtainedToken
from sidecar.core.outcome import Denial, Reason
from sidecar.core.own_credentials import is_ours
from sidecar.core.principal import Credential
from sidecar.core.transactions import transaction_id
from sidecar.outbound.evidence import take_out
from sidecar.outbound.passing import (
    Question,
    TransactionRequests,
    lines_with,
    transaction_of,
    without_statement,
)
from sidecar.outbound.token_choice import (
    Obtaining,
    Source,
    TokenChoice,
    denial_of,
)
from sidecar.telemetry.records import AttachedRecord, AttributionRecord
from sidecar.wire.answers import refusal
from sidecar.wire.exchange import Action, Answer, Forward, Pending, Timing
from sidecar.wire.heads import RequestHead, ResponseHead

if TYPE_CHECKING:
    from sidecar.outbound.handler import OutboundHandler

_PREFIX: Final = HANDLE_PREFIX.encode()
_HANDLE_ANYWHERE = re.compile(HANDLE_PATTERN)


class OutboundExchange:
    """One call of the app to a destination."""

    __slots__ = (
        "_attachment", "_attribution", "_called", "_cause", "_causes", "_choice", "_committed",
        "_credential", "_decision", "_denial", "_enforced", "_evidence", "_handler", "_head",
        "_obtained", "_obtaining", "_passing", "_sent", "_source", "_subject", "_transaction",
        "_transaction_asked", "_transaction_for",
    )  # fmt: skip

    def __init__(self, handler: "OutboundHandler", head: RequestHead) -> None:
        self._handler = handler
        self._head = head
        self._decision = handler.ids.draw(DECISION_LENGTH).decode()
        self._attachment: Attach | AttachOwn | Accompany | Leave | None = None
        self._attribution: AttributionRecord | None = None
        self._choice: TokenChoice = handler.tokens.rest
        self._called: Entry | None = None
        self._cause: Entry | None = None
        self._causes: tuple[str, ...] = ()
        self._committed = False
        self._credential: Credential | None = None
        self._denial: Denial | None = None
        self._enforced = True
        self._evidence = NO_EVIDENCE
        self._obtained: ObtainedToken | None = None
        self._obtaining: Obtaining | None = None
        self._passing = b""
        self._sent: ObtainedToken | None = None
        self._source: Source | None = None
        self._subject: Credential | None = None
        self._transaction: Credential | None = None
        self._transaction_asked: Question | None = None
        self._transaction_for: Entry | None = None

    def start(self) -> Action:
        """Collect the evidence, remove everything that must not leave the pod, decide."""
        handler, head = self._handler, self._head
        if not handler.settings.hosts.accepts(head.host):
            return self._refuse(
                Denial(
                    Reason.DESTINATION_UNKNOWN,
                    f"the listener of {handler.settings.name} serves localhost and the names "
                    "under `hosts`",
                )
            )
        choice = handler.tokens.find(head.method, head.target)
        if isinstance(choice, Denial):
            return self._refuse(choice)
        self._choice = choice
        evidence = take_out(head, handler.ledger.original, swaps_ids=handler.settings.swaps_ids)
        attachment = self._decide(evidence)
        if handler.settings.observe:
            attachment = self._observe(attachment)
        match attachment:
            case Refuse(denial=denial):
                return self._refuse(denial)
            case Attach(entry=entry):
                subject = entry.credential if choice.for_caller else None
                return self._obtain(attachment, choice.source, subject)
            case AttachOwn():
                return self._obtain(attachment, choice.own, None)
            case Accompany() | Leave():
                return self._forward(attachment)
            case never:
                assert_never(never)

    def resume(self) -> Action:
        if self._transaction_asked is not None:
            assert self._attachment is not None
            return self._forward(self._attachment)
        obtaining = self._obtaining
        assert obtaining is not None
        self._obtaining = None
        return self._take(obtaining.outcome)

    def _decide(self, evidence: Evidence) -> Attachment:
        handler = self._handler
        self._evidence = evidence
        rules = self._choice.rules
        early = decide_unattributed(rules, evidence.statement, handler.ledger)
        passes = handler.settings.passes_transaction
        if early is not None and (not passes or isinstance(early, Refuse)):
            return early
        handler.carriers.saw(evidence.carrier)
        if early is not None and early.keep_app:  # it does not say whose call it is
            evidence = self._evidence = without_statement(evidence)
        result = self._attribute(evidence)
        attachment = (
            decide(rules, result) if early is None else decide_accompanied(rules, early, result)
        )
        if passes and isinstance(attachment, (Attach, Accompany)):
            chosen = transaction_of(
                attachment.entry,
                attachment.grade,
                evidence,
                handler.ledger,
                self._attribute,
                requests=handler.transactions is not None,
            )
            if isinstance(chosen, Denial):
                attachment = Refuse(chosen)
            else:
                self._transaction = chosen
        outcome = _outcome(attachment)
        grade = result.grade.label
        handler.metrics.attributed(result.method, grade, outcome)
        self._attribution = AttributionRecord(method=result.method, grade=grade, outcome=outcome)
        if isinstance(result, Attributed):
            self._cause = result.entry
            self._credential = result.entry.credential
            self._causes = (result.entry.decision,)
        else:
            self._causes = result.causes
        return attachment

    def _attribute(self, evidence: Evidence) -> Attributed | Unattributed:
        handler = self._handler
        return handler.attribute(
            evidence,
            handler.settings.attribution,
            handler.ledger,
            handler.clock(),
            handler.wall_clock(),
        )

    def _observe(self, attachment: Attachment) -> Leave:
        if isinstance(attachment, Refuse):
            self._denial = attachment.denial
            self._enforced = False
        return Leave(keep_app=True)

    def _obtain(
        self, attachment: Attach | AttachOwn, source: Source | None, subject: Credential | None
    ) -> Action:
        """Get the token that is attached, where it is not the caller's own."""
        self._attachment = attachment
        self._source = source
        self._subject = subject
        return self._forward(attachment) if source is None else self._take(source.get(subject))

    def _take(self, found: ObtainedToken | Failure | Obtaining) -> Action:
        assert self._attachment is not None
        if isinstance(found, ObtainedToken):
            self._obtained = found
            return self._forward(self._attachment)
        if isinstance(found, Failure):
            return self._refuse(denial_of(found))
        self._obtaining = found
        return Pending(found.settled())

    def _forward(self, attachment: Attach | AttachOwn | Accompany | Leave) -> Action:
        """Send the call on, which only a decision to attach or to leave allows."""
        self._attachment = attachment
        if (
            self._handler.transactions is not None
            and self._transaction is None
            and isinstance(attachment, (Attach, Accompany))
        ):
            action = self._request_transaction(self._handler.transactions, attachment.entry)
            if action is not None:
                return action
        self._clean(keep_app=isinstance(attachment, (Accompany, Leave)) and attachment.keep_app)
        replay_bytes = 0 if self._source is None else self._handler.settings.replay_bytes
        return Forward(self._handler.pool, self._head.target, replay_bytes=replay_bytes)

    def _request_transaction(
        self, transactions: TransactionRequests, entry: Entry
    ) -> Action | None:
        """Get a transaction token for *entry*; an action means that there is none, or not yet."""
        asked, self._transaction_asked = self._transaction_asked, None
        found = transactions.get(entry) if asked is None else asked.found()
        if isinstance(found, Failure):
            return self._refuse(denial_of(found))
        if not isinstance(found, Credential):
            self._transaction_asked = found
            return Pending(found.settled())
        self._transaction = found
        self._transaction_for = entry
        return None

    def _clean(self, *, keep_app: bool) -> None:
        """Drop the app's credential, unless it may pass, and handles wherever the app put them."""
        head = self._head
        if not keep_app:
            for mark, index, _ in head.marked:
                if mark == AUTHORIZATION:
                    head.lines[index] = b""
        settings = self._handler.settings
        if settings.sources is not None and not settings.observe:
            issuers, ledger = settings.issuers, self._handler.ledger
            settings.sources.hold_back(
                head.lines, head.marked, lambda value: is_ours(value, issuers, ledger)
            )
        drop_handles(head)

    def commit(self) -> bytes | Answer:
        """Check the entry once more and give the credential that is attached.

        A call that is repeated is judged anew and counts as one.
        """
        handler = self._handler
        attachment = self._attachment
        if self._committed:
            handler.reporter.repeated()
            if self._called is not None:
                self._called.calls -= 1
                self._called = None
        self._committed = True
        if isinstance(attachment, (Attach, Accompany)):
            denial = self._call_from(attachment)
            if denial is not None:
                return self._refuse(denial)
            if isinstance(attachment, Accompany):
                return handler.host_line + self._passing
        elif not isinstance(attachment, AttachOwn):
            return handler.host_line
        token = self._token()
        if isinstance(token, Denial):
            return self._refuse(token)
        lines = handler.host_line
        if self._passing:
            lines += self._passing
        return b"%bauthorization: Bearer %b\r\n" % (lines, token)

    def _call_from(self, attachment: Attach | Accompany) -> Denial | None:
        """Count the call as one of its request, which may still cause it, or say why not."""
        handler = self._handler
        entry = attachment.entry
        rules, now, wall_now = (
            handler.settings.attribution,
            handler.clock(),
            handler.wall_clock(),
        )
        denial = check(entry, attachment.grade, rules, now, wall_now)
        if denial is not None and attachment.grade is Grade.STATED:
            # The app named a credential, not a request: another one with it may be live.
            again = handler.attribute(self._evidence, rules, handler.ledger, now, wall_now)
            if isinstance(again, Attributed):
                entry, denial = again.entry, None
        if denial is not None:
            return denial
        if entry.credential is None:
            return Denial(Reason.ATTRIBUTION_DEAD, "its request ended while the call was waiting")
        if handler.settings.passes_transaction:
            passing = lines_with(
                entry, self._transaction, wall_now, requested_for=self._transaction_for
            )
            if isinstance(passing, Denial):
                return passing
            self._passing = passing
        entry.calls += 1
        self._called = entry
        self._credential = entry.credential
        self._causes = (entry.decision,)
        return None

    def _token(self) -> bytes | Denial:
        """Return the token that is attached, if it is good at this moment."""
        source, obtained = self._source, self._obtained
        if source is None:
            credential = self._credential
            assert credential is not None
            if self._choice.leaves_audience(credential) and self._handler.outside is not None:
                self._handler.outside(self._handler.settings.name, credential)
            return credential.token
        assert obtained is not None
        if not source.still_good(obtained):
            found = source.get(self._subject)
            if not isinstance(found, ObtainedToken):
                return denial_of(found) if isinstance(found, Failure) else _ENDED_WAITING
            self._obtained = obtained = found
        self._sent = obtained
        return obtained.token

    def again(self, head: ResponseHead) -> Action | None:  # noqa: ARG002 - it is a 401
        """Send the call once more with another token, where the one it had was obtained.

        What the destination says of a token that the caller or the app chose is theirs to know.
        """
        source, obtained = self._source, self._obtained
        if source is None or obtained is None or not source.refused(obtained, self._subject):
            return None
        found = source.get(self._subject)
        return None if isinstance(found, Failure) else self._take(found)

    def respond(self, head: ResponseHead) -> None:
        for mark, index, _ in head.marked:
            if mark in (RESERVED, CONTEXT, CARRIER):
                head.lines[index] = b""
        if self._handler.settings.tells_decision:
            head.lines.append(decision_line(self._decision))

    def fail(self, reason: Reason, detail: str) -> Answer:
        return self._refuse(Denial(reason, detail))

    def finish(self, status: int, timing: Timing, fault: Reason | None, *, whole: bool) -> None:  # noqa: ARG002
        handler = self._handler
        obtained = self._attached()
        if fault is not None:
            self._enforced = True
            self._denial = Denial(fault, "the response was begun and could not be completed")
        passed = self._transaction if self._passing else None
        handler.reporter.ended(
            method=self._head.method,
            path=self._head.target,
            route=handler.route,
            status=status,
            duration_seconds=timing.duration,
            overhead_seconds=timing.overhead,
            decision=self._decision,
            credential=self._credential,
            denial=self._denial,
            enforced=self._enforced,
            attribution=self._attribution,
            destination=handler.settings.name,
            host=self._head.host,
            causes=self._causes,
            evidence=self._evidence,
            attached=obtained,
            transaction=passed,
        )
        if handler.decisions is not None:
            handler.decisions.outbound(
                decision=self._decision,
                method=self._head.method,
                host=self._head.host,
                path=self._head.target,
                destination=handler.settings.name,
                status=status,
                cause=self._causes[0] if len(self._causes) == 1 else "",
                attached=self._credential if self._has_credential() else None,
                denial=self._denial,
                enforced=self._enforced,
                obtained=obtained,
                transaction="" if passed is None else transaction_id(passed.principal),
            )

    def _has_credential(self) -> bool:
        return self._called is not None and isinstance(self._attachment, Attach)

    def _attached(self) -> AttachedRecord | None:
        """Say which token went with the call, where it was not the caller's own."""
        sent, choice = self._sent, self._choice
        if sent is None:
            return None
        is_own = isinstance(self._attachment, AttachOwn)
        return AttachedRecord(
            choice.own_kind if is_own else choice.kind,
            sent.log_id,
            sent.subject,
            sent.actor,
            choice.asked_for,
        )

    @property
    def cause(self) -> Entry | None:
        """The request that caused the call, once that is known."""
        return self._cause

    def refuse(self, denial: Denial) -> Answer:
        """Answer the app ourselves after all, because of what bounds its calls."""
        return self._refuse(denial)

    def _refuse(self, denial: Denial) -> Answer:
        self._denial = denial
        self._enforced = True
        return refusal(denial, decision=self._decision, to_app=True)


def drop_handles(head: RequestHead) -> None:
    """Drop every line that holds a handle: it has no business outside the pod."""
    if b"".join(head.lines).find(_PREFIX) >= 0:
        for index, line in enumerate(head.lines):
            if _HANDLE_ANYWHERE.search(line):
                head.lines[index] = b""


_ENDED_WAITING: Final = Denial(
    Reason.EXCHANGE_UNAVAILABLE, "its token ended while the call was waiting"
)


def _outcome(attachment: Attachment) -> str:
    match attachment:
        case Attach():
            return "attached"
        case Accompany():
            return "accompanied"
        case AttachOwn():
            return "own"
        case Leave():
            return "anonymous"
        case Refuse(denial=denial):
            return denial.reason.code
        case never:
            assert_never(never)
