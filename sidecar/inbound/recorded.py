"""What is recorded of an inbound exchange, for other rules to be tried on it later."""

from sidecar.core.headers import AUTHORIZATION
from sidecar.core.outcome import Denial
from sidecar.core.policy import PolicyRule
from sidecar.core.principal import Credential
from sidecar.core.transactions import transaction_id
from sidecar.telemetry.decision_log import DecisionLog
from sidecar.wire.heads import RequestHead


def record(
    log: DecisionLog,
    head: RequestHead,
    path: bytes,
    rule: PolicyRule | None,
    status: int,
    decision: str,
    credential: Credential | None,
    denial: Denial | None,
    *,
    enforced: bool,
    elsewhere: bool,
    transaction: Credential | None,
) -> None:
    """Record one exchange. *elsewhere*: the token may have been in another place than usual."""
    sent: bool | None = any(mark == AUTHORIZATION for mark, _, _ in head.marked)
    if elsewhere and not sent:
        sent = None
    log.inbound(
        decision=decision,
        method=head.method,
        host=head.host,
        path=path,
        rule="" if rule is None else rule.name,
        status=status,
        credential=credential,
        denial=denial,
        enforced=enforced,
        sent=sent,
        patterns=() if rule is None else rule.paths,
        transaction="" if transaction is None else transaction_id(transaction.principal),
    )
