"""What a running sidecar knows, in the form in which decisions are explained."""

from collections.abc import Callable, Iterable, Mapping

from sidecar.config.model import Config
from sidecar.core.claims import IssuerPolicy
from sidecar.core.policy import PolicyRule
from sidecar.credentials.ledger import Ledger
from sidecar.explain.explainer import Explainer
from sidecar.explain.known import Known, key_facts
from sidecar.explain.near import NearRules
from sidecar.explain.redaction import Redactor
from sidecar.issuers.keys import IssuerKeys
from sidecar.telemetry.decisions import Decisions


def live_explainer(
    config: Config,
    decisions: Decisions,
    *,
    rules: tuple[PolicyRule, ...],
    issuers: Iterable[IssuerPolicy],
    keys: Mapping[str, IssuerKeys],
    ledger: Ledger,
    wall_clock: Callable[[], float],
) -> Explainer:
    """Return what explains *decisions* with what is known when it is asked."""
    near_rules = NearRules(rules)
    policies = {policy.issuer: policy for policy in issuers}
    redactor = Redactor(config.explain.redact)

    def known() -> Known:
        return Known(
            config=config,
            rules=rules,
            near_rules=near_rules,
            issuers=policies,
            keys=lambda name: key_facts(keys[name], wall_clock()) if name in keys else None,
            redactor=redactor,
            cause=explainer.cause,
            ledger=f"now {len(ledger):,} of {ledger.capacity:,} entries are in use",
        )

    explainer = Explainer(decisions, known)
    return explainer
