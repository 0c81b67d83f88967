"""The transaction token of a request: verified beside its access token, never in place of it.

Only where ``inbound.transaction_tokens`` is configured; elsewhere the field is removed unseen.
"""

from collections.abc import Sequence
from typing import assert_never

from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Credential
from sidecar.core.transactions import MISSING, OTHER_SUBJECT, refused, the_one
from sidecar.core.verification import (
    IntrospectionNeeded,
    KeyNeeded,
    Rejected,
    Verified,
    Verifier,
)


class TransactionTokens:
    """Judges them with a verifier of their own, which knows of no access token."""

    def __init__(self, verifier: Verifier, *, required: bool, same_subject: bool) -> None:
        self.verifier = verifier
        self._required = required
        self._same_subject = same_subject

    def judge(
        self, sent: Sequence[bytes], caller: Credential, now: float
    ) -> Verified | Denial | KeyNeeded | None:
        """Judge what a request of *caller* has *sent*; ``None``: nothing, which is all right."""
        token = the_one(sent)
        if token is None:
            return MISSING if self._required else None
        if isinstance(token, Denial):
            return token
        match self.verifier.verify(token, now=now):
            case Verified(credential=transaction) as verified:
                same = transaction.principal.subject == caller.principal.subject
                return OTHER_SUBJECT if self._same_subject and not same else verified
            case Rejected(denial=denial):
                return refused(denial)
            case KeyNeeded() as needed:
                return needed
            case IntrospectionNeeded():
                return _NEVER_ASKED
            case never:
                assert_never(never)

    def withdrawn(self, transaction: Credential, generation: int, now: float) -> Denial | None:
        """Say why *transaction*, verified under the keys of *generation*, is not good any more."""
        if generation == self.verifier.generation:
            return None
        match self.verifier.verify(transaction.token, now=now):
            case Verified():
                return None
            case Rejected(denial=denial):
                return refused(denial)
            case KeyNeeded() | IntrospectionNeeded():
                return KEY_WITHDRAWN
            case never:
                assert_never(never)


KEY_WITHDRAWN = Denial(
    Reason.TRANSACTION_TOKEN_INVALID, "key_unknown: the token's key was withdrawn meanwhile"
)
_NEVER_ASKED = Denial(
    Reason.TRANSACTION_TOKEN_INVALID, "token_type: it would have to be asked about"
)
