"""What to do with an outbound request: attach a credential, leave it, or refuse.

Which token an attachment stands for, the caller's own or another, is decided beside this
(``sidecar.outbound.token_choice``): it does not change whose call it is.
"""

from dataclasses import dataclass
from typing import Final, assert_never

from sidecar.core.attribution import Attributed, Entry, Grade, Lookup, Unattributed
from sidecar.core.outcome import Denial, Reason


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """The token rule of one destination."""

    attributes: bool
    """A token is attached, so that whose call it is must be known; otherwise none ever is."""
    anonymous_without_context: bool = False
    """Let a call that names no request go out without a token."""
    own_without_context: bool = False
    """Let a call that names no request go out with a token of the service itself."""
    anonymous_for_anonymous: bool = False
    """Let a call caused by an anonymous request go out without a token."""
    keep_app_credentials: bool = False


@dataclass(init=False, slots=True)
class Attach:
    """Set ``Authorization`` in the name of *entry*, replacing what the app sent."""

    entry: Final[Entry]
    grade: Final[Grade]

    def __init__(self, entry: Entry, grade: Grade) -> None:
        self.entry = entry
        self.grade = grade


@dataclass(init=False, slots=True)
class Accompany:
    """Send the transaction token of *entry* alone. *keep_app*: as with ``Leave``."""

    entry: Final[Entry]
    grade: Final[Grade]
    keep_app: Final[bool]

    def __init__(self, entry: Entry, grade: Grade, keep_app: bool) -> None:
        self.entry = entry
        self.grade = grade
        self.keep_app = keep_app


@dataclass(frozen=True, slots=True)
class AttachOwn:
    """Set ``Authorization`` in the name of the service itself: no request caused the call."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Forward with no credential of ours. *keep_app*: what the app itself sent may stay."""

    keep_app: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the app ourselves."""

    denial: Denial


Attachment = Attach | AttachOwn | Accompany | Leave | Refuse


def decide_unattributed(
    rules: DestinationRules, statement: bytes | None, lookup: Lookup
) -> Leave | Refuse | None:
    """Decide what needs no attribution; ``None`` means that the caller's token is to be found.

    *statement* is the token of the app's own Authorization, empty where that is something else,
    ``None`` where it sent no such field. The token of a live request is never the app's own: it
    goes where a rule sends it and nowhere else.
    """
    if statement is None or any(lookup.find_token(statement)):
        return None if rules.attributes else Leave()
    if rules.keep_app_credentials:
        return Leave(keep_app=True)
    if rules.attributes:
        return None
    return Refuse(
        Denial(
            Reason.FOREIGN_CREDENTIAL,
            "the app sent an Authorization of its own; `app_credentials: keep` lets it pass",
        )
    )


def decide(rules: DestinationRules, result: Attributed | Unattributed) -> Attachment:
    """Turn the result of attribution into what happens to the request.

    Only a call that names no request at all may be configured to go out without a token, or with
    one of the service itself. One whose evidence is dead, unknown or ambiguous never may: whose
    rights are used must not change silently.
    """
    match result:
        case Attributed(entry=entry, grade=grade):
            if entry.credential is not None:
                return Attach(entry, grade)
            if rules.anonymous_for_anonymous:
                return Leave()
            return Refuse(
                Denial(Reason.ANONYMOUS_ORIGIN, "`anonymous_origin: anonymous` lets such calls out")
            )
        case Unattributed(denial=denial):
            if denial.reason is Reason.ATTRIBUTION_MISSING:
                if rules.own_without_context:
                    return AttachOwn()
                if rules.anonymous_without_context:
                    return Leave()
            return Refuse(denial)
        case never:
            assert_never(never)


def decide_accompanied(
    rules: DestinationRules, left: Leave, result: Attributed | Unattributed
) -> Accompany | Leave | Refuse:
    """Decide on a call with no credential of ours (*left*) that may have a transaction token.

    Whose it is must be known as surely as with a credential, also where *result* names a request
    without one: another may be meant that has one (``sidecar.outbound.passing``).
    """
    match result:
        case Attributed(entry=entry, grade=grade):
            return left if entry.credential is None else Accompany(entry, grade, left.keep_app)
        case Unattributed(denial=denial):
            may_lack_a_cause = rules.anonymous_without_context or rules.own_without_context
            if denial.reason is Reason.ATTRIBUTION_MISSING and may_lack_a_cause:
                return left
            return Refuse(denial)
        case never:
            assert_never(never)
