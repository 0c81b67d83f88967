"""What is counted and logged when an exchange ends, the same for both directions."""

from typing import Final

from sidecar.core.actors import actor_chain
from sidecar.core.attribution import NO_EVIDENCE, Evidence
from sidecar.core.outcome import Denial
from sidecar.core.policy import PolicyRule
from sidecar.core.principal import Credential
from sidecar.core.token_sources import TokenSource
from sidecar.core.transactions import transaction_id
from sidecar.telemetry.access_log import AccessLog
from sidecar.telemetry.decisions import Decisions
from sidecar.telemetry.metrics import Direction, RouteMetrics
from sidecar.telemetry.records import AccessRecord, AttachedRecord, AttributionRecord

_SWITCHED: Final = 101


class ExchangeReporter:
    """One direction's metrics, the access log, and the latest decisions where they are kept."""

    def __init__(
        self, direction: Direction, log: AccessLog, decisions: Decisions | None = None
    ) -> None:
        self._direction = direction
        self._log = log
        self._decisions = decisions

    def begun(self) -> None:
        self._direction.in_flight += 1

    def repeated(self) -> None:
        """Count a request that is sent once more."""
        self._direction.retries += 1

    def ended(
        self,
        *,
        method: bytes,
        path: bytes,
        route: RouteMetrics,
        status: int,
        duration_seconds: float,
        overhead_seconds: float,
        decision: str,
        credential: Credential | None,
        denial: Denial | None,
        enforced: bool = True,
        attribution: AttributionRecord | None = None,
        destination: str = "",
        tunnel: bool = False,
        host: bytes = b"",
        rule: PolicyRule | None = None,
        source: TokenSource | None = None,
        token: bytes = b"",
        causes: tuple[str, ...] = (),
        evidence: Evidence = NO_EVIDENCE,
        attached: AttachedRecord | None = None,
        transaction: Credential | None = None,
    ) -> None:
        """Count one exchange, keep the decision and write its line.

        *path* may still have its query. *source* is where *token* was found, *evidence* what an
        outbound call says of the requests that caused it, whose decisions are *causes*. *attached*
        is the token that went with it, where that is not the caller's own; *transaction* is the
        transaction token that came with the request or went with the call.

        A *tunnel*, such as whatever ends with 101, is open for as long as its two sides like: its
        duration is in the log, and would say nothing among those of answers.
        """
        direction = self._direction
        direction.in_flight -= 1
        if tunnel or status == _SWITCHED:
            route.counted(method, status)
        else:
            route.finished(method, status, duration_seconds)
        direction.overhead.observe(overhead_seconds)
        if destination:
            route.came_to(_outcome(denial, attribution))
        decisions = self._decisions
        if decisions is not None and (denial is not None or decisions.keeps_permits):
            decisions.add(
                decision=decision,
                direction=direction.name,
                method=method,
                path=path,
                host=host,
                route=route.name,
                status=status,
                duration_seconds=duration_seconds,
                overhead_seconds=overhead_seconds,
                credential=credential,
                denial=denial,
                enforced=enforced,
                attribution=attribution,
                destination=destination,
                rule=rule,
                source=source if token else None,
                token=token,
                causes=causes,
                evidence=evidence,
                attached=attached,
                transaction=transaction,
            )
        log = self._log
        if denial is not None:
            direction.reject(denial.reason, route.name, enforced)
            if not log.logs_refusals:
                return
        elif not log.logs_all:
            return
        record = AccessRecord(
            direction=direction.name,
            decision=decision,
            method=method.decode("latin-1"),
            path=path.partition(b"?")[0].decode("latin-1"),
            route=route.name,
            status=status,
            duration_ms=duration_seconds * 1000,
            overhead_ms=overhead_seconds * 1000,
            attribution=attribution,
            destination=destination,
            attached=attached,
        )
        if credential is not None:
            principal = credential.principal
            record.issuer = principal.issuer_name
            record.subject = principal.subject
            record.token = credential.log_id
            if "act" in principal.claims:
                chain = actor_chain(principal.claims)
                record.actor = chain[0]
                if len(chain) > 1:
                    record.actors = chain
        if transaction is not None:
            record.transaction = transaction_id(transaction.principal)
        if denial is not None:
            record.reason = denial.reason.code
            record.detail = denial.detail
            record.enforced = enforced
        log.add(record)

    def refused_message(self, denial: Denial, route: RouteMetrics, decision: str) -> None:
        """Count bytes that were no request, or a connection that was not accepted."""
        self._direction.reject(denial.reason, route.name, True)
        route.finished(b"", denial.reason.facts.status, 0.0)
        if self._decisions is not None:
            self._decisions.add(
                decision=decision,
                direction=self._direction.name,
                method=b"",
                path=b"",
                host=b"",
                route=route.name,
                status=denial.reason.facts.status,
                duration_seconds=0.0,
                overhead_seconds=0.0,
                credential=None,
                denial=denial,
                enforced=True,
            )
        if self._log.logs_refusals:
            self._log.add(
                AccessRecord(
                    direction=self._direction.name,
                    decision=decision,
                    method="",
                    path="",
                    route=route.name,
                    status=denial.reason.facts.status,
                    reason=denial.reason.code,
                    detail=denial.detail,
                    enforced=True,
                    duration_ms=0.0,
                    overhead_ms=0.0,
                )
            )


def _outcome(denial: Denial | None, attribution: AttributionRecord | None) -> str:
    if denial is not None:
        return denial.reason.code
    return "forwarded" if attribution is None else attribution.outcome
