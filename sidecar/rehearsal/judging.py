"""Decide as the listener would: the same rules, the same code, without a request on a socket.

Owns the order in which an inbound request is judged, and is the one place here that knows what the
policy asks to be given. Signatures, revocation and introspection are not judged.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sidecar import settings
from sidecar.config import model
from sidecar.core.claim_paths import ClaimPath
from sidecar.core.outcome import Denial, Reason
from sidecar.core.paths import canonical
from sidecar.core.policy import Policy, PolicyRule, authorize
from sidecar.core.principal import Principal
from sidecar.telemetry.decision_settings import conditioned, readings


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as far as rules may ask about it."""

    method: bytes
    path: bytes
    """As sent, without query."""
    host: bytes = b""
    now: float = 0.0
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a request. *reason* is empty where nothing spoke against it."""

    allowed: bool
    rule: str
    """Empty where none matched."""
    reason: str = ""
    detail: str = ""

    @property
    def observed(self) -> bool:
        """Whether it went on although the rule spoke against it (``mode: observe``)."""
        return self.allowed and bool(self.reason)

    def __str__(self) -> str:
        rule = f"rule {self.rule}" if self.rule else "no rule"
        if not self.allowed:
            return f"refused: {self.reason} ({rule})"
        return f"allowed, observed: {self.reason} ({rule})" if self.reason else f"allowed ({rule})"


@dataclass(frozen=True, slots=True)
class Found:
    """The rule that a request falls under."""

    rule: PolicyRule
    path: bytes
    """Canonical."""


class Judge:
    """The rules and issuers of one configuration."""

    def __init__(self, config: model.Config, *, enforced: bool = False) -> None:
        """*enforced*: judge as if no rule only observed."""
        inbound = config.inbound
        rules = [settings.policy_rule(r, inbound.mode, config.attribution) for r in inbound.rules]
        if enforced:
            rules = [replace(rule, enforced=True) for rule in rules]
        self.config = config
        self.issuers = {n: settings.issuer_policy(i) for n, i in config.access_issuers.items()}
        self.by_iss = {policy.issuer: policy for policy in self.issuers.values()}
        self.read_as = readings(config)
        self.conditioned: Mapping[str, tuple[ClaimPath, ...]] = {
            rule.name: tuple(_conditioned(rule)) for rule in inbound.rules
        }
        """By rule, the claims that its conditions ask for."""
        self.rule_names = tuple(rule.name for rule in inbound.rules)
        self._policy = Policy(rules)
        self._paths = settings.inbound_settings(config).paths

    def find(self, asked: Asked) -> Found | Denial:
        """Return the rule for a request, or why there is none."""
        path = asked.path if asked.path == b"*" else canonical(asked.path, self._paths)
        if isinstance(path, Denial):
            return path
        rule = self._policy.match(asked.method, path, asked.host)
        if rule is None:
            return Denial(Reason.NO_RULE, "no rule matches this method, host and path")
        return Found(rule, path)

    def authorize(self, found: Found, principal: Principal | None, now: float) -> Verdict:
        """Decide whether *principal* meets the rule of *found*."""
        decision = authorize(found.rule, principal, found.path, now)
        if isinstance(decision, Denial):
            return refused(decision, found.rule.name)
        unmet = decision.unmet
        if unmet is None:
            return Verdict(True, found.rule.name)
        return Verdict(True, found.rule.name, unmet.reason.code, unmet.detail)


def refused(denial: Denial, rule: str = "") -> Verdict:
    """Return the verdict that *denial* means."""
    return Verdict(False, rule, denial.reason.code, denial.detail)


def _conditioned(rule: model.Rule) -> Iterator[ClaimPath]:
    if isinstance(rule.access, model.Require):
        yield from conditioned(rule.access)
