"""What recorded requests make of a configuration: what is used, what is not, what is only observed.

Owns the definitions that docs/rehearsing-rules.md states. What to change because of it belongs to
``sidecar.rehearsal.suggestions``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sidecar.config import model
from sidecar.core.outcome import Denial
from sidecar.core.principal import NO_NAMES, Principal
from sidecar.rehearsal.judging import Asked, Judge
from sidecar.rehearsal.recordings import Counts, moment, read
from sidecar.rehearsal.rejudging import Callers, Undecidable, rejudge
from sidecar.rehearsal.tallies import TopTally
from sidecar.telemetry.decision_records import DecisionRecord

MAX_COMBINATIONS: Final = 256
"""Of names that callers of one rule hold; past it nothing is said of that rule's names."""

Where = tuple[str, ...]
"""Under ``require``: ``("scopes",)``, ``("roles",)``, ``("client_roles", client)``."""


@dataclass(slots=True)
class Alternatives:
    """A list of names of which a rule asks for one, and what its callers held of them."""

    where: Where
    names: tuple[str, ...]
    held: set[frozenset[str]] = field(default_factory=set)
    overflowed: bool = False

    def saw(self, held: frozenset[str]) -> None:
        """Note what a caller held whom the rule let pass."""
        if len(self.held) < MAX_COMBINATIONS:
            self.held.add(held & frozenset(self.names))
        else:
            self.overflowed = True

    def unused(self) -> tuple[str, ...]:
        """Return names without all of which every caller would still have passed.

        The last of the list go first, where either of two would do.
        """
        if self.overflowed or not self.held:
            return ()
        left = set(self.names)
        for name in reversed(self.names):
            if all(held & (left - {name}) for held in self.held):
                left.discard(name)
        return tuple(name for name in self.names if name not in left)


@dataclass(slots=True)
class RuleEvidence:
    """What happened under one rule."""

    rule: model.Rule
    calls: int = 0
    permitted: int = 0
    undecidable: int = 0
    alternatives: list[Alternatives] = field(default_factory=list)
    observed: TopTally[tuple[str, str]] = field(default_factory=lambda: TopTally(1_000))
    """What enforcing it would refuse, by reason and caller."""


@dataclass(slots=True)
class Scopes:
    """What tokens of one client carry."""

    granted: set[str] = field(default_factory=set)
    calls: int = 0


@dataclass(slots=True)
class Evidence:
    """What a log says of a configuration."""

    counts: Counts
    rules: dict[str, RuleEvidence]
    unmatched: int = 0
    relayed_outside: TopTally[tuple[str, str, str]] = field(default_factory=TopTally)
    """Destination, issuer and audiences of tokens that were meant for us alone."""
    scopes: dict[tuple[str, str], Scopes] = field(default_factory=dict)
    """By issuer and client."""
    wanted_scopes: frozenset[str] = frozenset()
    """All that rules ask for."""


MAX_CLIENTS: Final = 1_000
MAX_SCOPES: Final = 500


def gather(paths: Iterable[str], judge: Judge) -> Evidence:
    """Read the recorded decisions in the files at *paths* as evidence on a configuration.

    *judge* judges as if every rule were enforced. Raises ``RecordingError``.
    """
    rules = {rule.name: _begun(rule) for rule in judge.config.inbound.rules}
    evidence = Evidence(Counts(), rules, wanted_scopes=frozenset(_wanted(judge.config)))
    callers = Callers()
    for record in read(paths, evidence.counts):
        if record.direction == "outbound":
            _saw_call_out(evidence, record, judge)
            continue
        known = callers.read(bytes(record.caller)) if record.presented == "verified" else None
        if known is not None:
            _saw_scopes(evidence, known[0].client, known[1])
        asked = Asked(
            record.method.encode(), record.path.encode(), record.host.encode(), moment(record.time)
        )
        found = judge.find(asked)
        if isinstance(found, Denial):
            evidence.unmatched += 1
            continue
        rule = rules[found.rule.name]
        rule.calls += 1
        verdict = rejudge(record, known, judge)
        if isinstance(verdict, Undecidable):
            rule.undecidable += 1
        elif verdict.allowed:
            rule.permitted += 1
            if known is not None:
                for alternatives in rule.alternatives:
                    alternatives.saw(_held(known[1], alternatives.where))
        elif known is not None:
            caller = f"{known[0].subject} of {known[0].issuer}"
            rule.observed.add((verdict.reason, caller))
    return evidence


def _begun(rule: model.Rule) -> RuleEvidence:
    found = RuleEvidence(rule)
    for where, demand in demands(rule):
        if demand.match == "any":
            found.alternatives.append(Alternatives(where, demand.names))
    return found


def demands(rule: model.Rule) -> Iterator[tuple[Where, model.Demand]]:
    """Yield what *rule* demands, and where it stands under ``require``."""
    if not isinstance(rule.access, model.Require):
        return
    if rule.access.scopes is not None:
        yield ("scopes",), rule.access.scopes
    if rule.access.roles is not None:
        yield ("roles",), rule.access.roles
    for client, demand in rule.access.client_roles:
        yield ("client_roles", client), demand


def _wanted(config: model.Config) -> Iterator[str]:
    for rule in config.inbound.rules:
        if isinstance(rule.access, model.Require) and rule.access.scopes is not None:
            yield from rule.access.scopes.names


def _held(principal: Principal, where: Where) -> frozenset[str]:
    match where:
        case ("scopes",):
            return principal.scopes
        case ("roles",):
            return principal.roles
        case (_, client):
            return principal.client_roles.get(client, NO_NAMES)
        case _:
            return NO_NAMES


def _saw_scopes(evidence: Evidence, client: str, principal: Principal) -> None:
    key = principal.issuer_name, client
    scopes = evidence.scopes.get(key)
    if scopes is None:
        if len(evidence.scopes) >= MAX_CLIENTS:
            return
        scopes = evidence.scopes[key] = Scopes()
    scopes.calls += 1
    if len(scopes.granted) < MAX_SCOPES:
        scopes.granted |= principal.scopes


def _saw_call_out(evidence: Evidence, record: DecisionRecord, judge: Judge) -> None:
    """Note a token that went to a destination although its ``aud`` names us and nobody else."""
    destination = judge.config.outbound.destinations.get(record.destination)
    issuer = judge.config.issuers.get(record.issuer)
    if record.attached != "token" or destination is None or issuer is None:
        return
    ours = frozenset(issuer.audiences or ())
    theirs = destination.own_audiences
    if record.audiences and ours.issuperset(record.audiences) and theirs.isdisjoint(ours):
        audiences = ", ".join(sorted(record.audiences))
        evidence.relayed_outside.add((record.destination, record.issuer, audiences))
