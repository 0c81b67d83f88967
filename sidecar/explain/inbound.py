"""What each step of an inbound decision wanted and found."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import inf
from typing import Any, Final

from sidecar.core.claim_paths import ABSENT, look_up, show_claim_path
from sidecar.core.claims import IssuerPolicy
from sidecar.core.families import SPIFFE_SCHEME, trust_domain_of
from sidecar.core.outcome import Denial, Reason
from sidecar.core.policy import Names, Requirement, authorize
from sidecar.core.principal import NO_NAMES, Principal
from sidecar.core.reason_texts import Step
from sidecar.core.rights import read_scopes
from sidecar.explain.case import Case
from sidecar.explain.known import KeyFacts, Known
from sidecar.explain.near import elsewhere, pairs
from sidecar.explain.redaction import REDACTED
from sidecar.explain.rows import StepRow
from sidecar.explain.steps import Look, answered_here, ends_at, told
from sidecar.explain.transactions import came_in
from sidecar.explain.words import (
    claim,
    held,
    instant,
    listed,
    names_of,
    relative,
    required,
    rule_words,
    shown,
)

ORDER: Final[tuple[Step, ...]] = (
    "message", "path", "rule", "token", "issuer", "type", "signature", "audience", "claims",
    "times", "transaction", "rights", "admission", "forward",
)  # fmt: skip
_MOST_NEAR: Final = 4
_TIMES: Final = ("nbf", "iat", "exp")


def inbound_steps(case: Case, known: Known) -> tuple[tuple[StepRow, ...], tuple[str, ...]]:
    """Return the steps, and advice that belongs to this very request."""
    inbound = _Inbound(case, known)
    looks = known.config.inbound.transaction_tokens is not None
    order = ORDER if looks else tuple(each for each in ORDER if each != "transaction")
    end = ends_at(case.denial, order, verified=case.principal is not None)
    rows = told(order, inbound.looks(), case.denial, end=end, enforced=case.enforced)
    return rows, tuple(inbound.advice) if end is not None else ()


class _Inbound:
    """Looks at one request, a step at a time."""

    def __init__(self, case: Case, known: Known) -> None:
        self._case = case
        self._known = known
        self._claims = case.claims
        self._shown = known.redactor.claims(case.claims)
        self._issuer = _issuer_of(case, known.issuers)
        self._keys = None if self._issuer is None else known.keys(self._issuer.name)
        self._anyone = case.rule is not None and (
            not case.rule.looks_at_tokens
            # None was sent, which is all right with a rule where it is optional.
            or (case.rule.optional and case.principal is None and case.denial is None)
        )
        self.advice: list[str] = []

    def looks(self) -> Mapping[Step, Callable[[], Look]]:
        return {
            "message": self._message, "path": self._path, "rule": self._rule,
            "token": self._token, "issuer": self._issuer_look, "type": self._type,
            "signature": self._signature, "audience": self._audience,
            "claims": self._claims_look, "times": self._times,
            "transaction": lambda: came_in(self._case, self._known, anyone=self._anyone),
            "rights": self._rights,
            "admission": self._admission, "forward": self._forward,
        }  # fmt: skip

    # --- the request ---

    def _message(self) -> Look:
        case = self._case
        if not case.method:
            return Look("a request that can be read in one way", "no request")
        host = f", Host {shown(case.host.decode('latin-1'))}" if case.host else ""
        return Look("", f"{shown(case.method.decode('latin-1'))}{host}")

    def _path(self) -> Look:
        if not self._case.path:
            return Look(fits=None, outcome="skipped")
        path = shown(self._case.path.decode("latin-1"))
        return Look("a path that has one reading", path)

    def _rule(self) -> Look:
        case = self._case
        if case.rule is not None:
            at = next((i for i, each in enumerate(self._known.rules, 1) if each is case.rule), 0)
            of = f"rule {at} of {len(self._known.rules)}" if at else "of the rules at that time"
            mode = "" if case.rule.enforced else "; it only observes what callers may"
            return Look("the first rule for this method and path", rule_words(case.rule), of + mode)
        near = ""
        if case.denial is not None and case.denial.reason is Reason.NO_RULE:
            near = self._known.near_rules.near(case.method, case.path, case.host)
            if near:
                self.advice.append(f"near: {near}")
        return Look("the first rule for this method and path", "none", near, fits=None)

    # --- the token ---

    def _token(self) -> Look:
        if self._anyone:
            return _unasked("the rule lets anyone in")
        places = " or ".join(map(str, self._known.config.inbound.token_sources))
        source = self._case.source
        return Look(f"one token, in {places}", source or "none that can be read", fits=bool(source))

    def _issuer_look(self) -> Look:
        if self._is_silent:
            return self._silence()
        trusted = listed(self._known.issuers)
        found = claim(self._shown, "iss")
        if self._issuer is None:
            return Look(f"one of {trusted}", found, fits=False)
        return Look(f"one of {trusted}", f"{found}, which is issuers.{self._issuer.name}")

    def _type(self) -> Look:
        issuer, header = self._issuer, self._case.header
        if self._is_silent:
            return self._silence()
        if issuer is None:
            return Look("", _header_words(header, self._case.key), fits=None)
        profile = issuer.rules
        algs = issuer.algorithms if profile.algorithms is None else (
            issuer.algorithms & profile.algorithms
        )  # fmt: skip
        types = sorted("absent" if each is None else each for each in profile.token_types)
        return Look(
            f"alg one of {listed(sorted(algs))}, typ one of {listed(types)}",
            _header_words(header, self._case.key),
        )

    def _signature(self) -> Look:
        case, keys, issuer = self._case, self._keys, self._issuer
        if self._is_silent:
            return self._silence()
        if case.signature_skipped:
            return Look("a key of the issuer", "claims without a signature", fits=None,
                        outcome="skipped")  # fmt: skip
        if case.principal is not None and case.key is None:
            return Look("the issuer's word, or a key of it", "the issuer said yes")
        kid = case.key[1] if case.key is not None else case.header.get("kid")
        found = "a key without name" if kid is None else f"key {shown(kid)}"
        if issuer is None:
            return Look("a key of the issuer", found, fits=None)
        return Look(f"a key of {issuer.name}", found, _key_note(keys, kid),
                    fits=True if case.principal is not None else None)  # fmt: skip

    def _audience(self) -> Look:
        issuer = self._issuer
        if self._is_silent:
            return self._silence()
        if issuer is None:
            return Look("", claim(self._shown, "aud"), fits=None)
        name = "aud" if "aud" in self._claims else issuer.rules.audience_claim
        found = f"{name} {claim(self._shown, name)}"
        if issuer.audiences is None:
            return Look("any (audiences: any)", found)
        have = names_of(self._claims.get(name))
        fits = not issuer.audiences.isdisjoint(have)
        note = "" if fits else self._near(name, issuer.audiences, have)
        return Look(f"one of {listed(sorted(issuer.audiences))}", found, note, fits)

    def _claims_look(self) -> Look:
        issuer = self._issuer
        if self._is_silent:
            return self._silence()
        wanted = ["sub", *(("exp",) if issuer is None or issuer.require_exp else ())]
        if issuer is not None:
            wanted += issuer.rules.required
        missing = [name for name in dict.fromkeys(wanted) if name not in self._claims]
        found = f"sub {claim(self._shown, 'sub')}"
        if missing:
            found += f"; missing: {listed(missing)}"
        return Look(f"{listed(dict.fromkeys(wanted))}, each of its type", found, fits=not missing)

    def _times(self) -> Look:
        if self._is_silent:
            return self._silence()
        case, issuer = self._case, self._issuer
        leeway = 0.0 if issuer is None else issuer.leeway_seconds
        found, fits = [], True
        for name in _TIMES:
            value = self._claims.get(name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            when = f"{instant(value)} ({relative(value, case.at)})"
            found.append(f"{name} {REDACTED if self._known.redactor.hides(name) else when}")
            is_late = name == "exp" and case.at >= value + leeway
            fits = fits and not is_late and not (name != "exp" and case.at < value - leeway)
        wanted = f"valid at {instant(case.at)}, with a leeway of {leeway:g} s"
        if issuer is not None and issuer.max_token_age_seconds is not None:
            wanted += f"; issued at most {issuer.max_token_age_seconds:g} s before"
            issued = self._claims.get("iat", -inf)
            if isinstance(issued, int | float):
                fits = fits and case.at < issued + issuer.max_token_age_seconds + leeway
        return Look(wanted, ", ".join(found) or "no times", self._clock_note(fits), fits)

    def _clock_note(self, fits: bool) -> str:
        keys = self._keys
        if keys is None or not keys.clock:
            return "the issuer's clock is not known: its keys do not come from a server with `Date`"
        off = keys.clock_offset_seconds or 0.0
        if not fits and abs(off) > keys.clock_bound_seconds:
            self.advice.append(
                f"compare the clocks: {keys.clock}; a token that is fresh there may be refused here"
            )
        return keys.clock

    # --- the rights ---

    def _rights(self) -> Look:
        rule = self._case.rule
        if self._anyone:
            return _unasked("the rule lets anyone in")
        if rule is None or rule.requirement is None:
            return Look(fits=None, outcome="skipped")
        requirement = rule.requirement
        principal = self._principal()
        if principal is None:
            return Look(required(requirement), fits=None)
        enforcing = replace(rule, enforced=True)
        judged = authorize(enforcing, principal, self._case.path, self._case.at)
        why = judged.detail if isinstance(judged, Denial) else ""
        near = "; ".join(self._lacking(requirement, principal)) if why else ""
        return Look(
            required(requirement), self._held(requirement, principal), near, not why, why=why
        )

    def _principal(self) -> Principal | None:
        """Return who the token speaks for, or would if it were good."""
        if self._case.principal is not None:
            return self._case.principal
        issuer = self._issuer
        if issuer is None or self._is_silent:
            return None
        scopes = read_scopes(self._claims, issuer.rules.scopes_from)
        roles = issuer.rules.read_roles(self._claims)
        by_client = issuer.rules.read_client_roles(self._claims)
        if isinstance(scopes, Denial) or isinstance(roles, Denial) or isinstance(by_client, Denial):
            return None
        subject = shown(self._claims.get("sub"))
        return Principal(
            issuer.name, issuer.issuer, subject, scopes, roles, self._claims, by_client
        )

    def _held(self, requirement: Requirement, principal: Principal) -> str:
        """Return what the token has of the kinds that are asked for; of none, what it grants."""
        hides, claims = self._known.redactor.hides, self._shown
        hidden = frozenset({REDACTED})
        scopes = hidden if hides("scope") or hides("scp") else principal.scopes
        roles = hidden if hides("roles") else principal.roles
        parts = [held(scopes, roles, principal.client_roles)]
        if requirement.audiences is not None:
            parts.append(f"audience: {claim(claims, 'aud')}")
        if requirement.actors is not None:
            actor = claims.get("act")
            of = claim(actor, "sub") if isinstance(actor, dict) else "none"
            parts.append(f"actor: {REDACTED if hides('act') else of}")
        if requirement.authentication is not None:
            parts += [f"{name} {claim(claims, name)}" for name in ("acr", "auth_time")]
        for condition in requirement.conditions:
            value = look_up(principal.claims, condition.claim)
            where = show_claim_path(condition.claim)
            is_hidden = hides(condition.claim[0])
            says = REDACTED if is_hidden else "none" if value is ABSENT else shown(value)
            parts.append(f"{shown(where)} {says}")
        return "; ".join(parts)

    def _lacking(self, requirement: Requirement, principal: Principal) -> Iterator[str]:
        """Yield what is near to what *requirement* misses."""
        wanted: list[tuple[str, Names, frozenset[str]]] = []
        if requirement.scopes is not None:
            wanted.append(("scope", requirement.scopes, principal.scopes))
        if requirement.roles is not None:
            wanted.append(("role", requirement.roles, principal.roles))
        for client, names in requirement.client_roles:
            have = principal.client_roles.get(client, NO_NAMES)
            wanted.append((f"role of {shown(client)}", names, have))
        for what, names, have in wanted:
            if not names.missing_from(have):
                continue
            missing = sorted(names.names - have)[:_MOST_NEAR]
            if near := self._near(what, missing, have):
                yield near
            for name in missing:
                if (where := self._found_at(what, name, principal.client_roles)) is not None:
                    yield where
        audiences = requirement.audiences
        if audiences is not None:
            yield from filter(
                None, [self._near("aud", audiences, names_of(self._claims.get("aud")))]
            )

    def _found_at(
        self, what: str, name: str, client_roles: Mapping[str, frozenset[str]]
    ) -> str | None:
        """Say where else the token has *name*, and what would make it count."""
        for client, names in sorted(client_roles.items()):
            if name in names and what == "role":
                self.advice.append(
                    f"the role {shown(name)} is one of the client {shown(client)}: get it as a "
                    f"role of the realm, or write `client_roles: {{{shown(client)}: "
                    f"[{shown(name)}]}}` in the rule"
                )
                return f"{shown(name)} is there as a role of the client {shown(client)}"
        where = elsewhere(name, self._claims)
        if where is None or self._known.redactor.hides(where.partition(".")[0]):
            return None
        key = "scopes_from" if what == "scope" else "roles_from"
        self.advice.append(
            f"the token has {shown(name)} in the claim {shown(where)}, where it does not count: "
            f"issuers.{self._issuer.name if self._issuer else 'NAME'}.{key} says where it does"
        )
        return f"{shown(name)} is there in the claim {shown(where)}, which is not looked at for it"

    # --- and then ---

    def _admission(self) -> Look:
        terms = "" if self._case.rule is None or not self._case.rule.terms.alone else (
            "a turn in the app, and "
        )  # fmt: skip
        return Look(f"{terms}a place in the ledger", self._known.ledger)

    def _forward(self) -> Look:
        app = f"the answer of {self._known.config.inbound.app}"
        status = self._case.status
        if not status or answered_here(self._case.denial, self._case.enforced):
            return Look(app, "nothing is sent", fits=None, outcome="skipped")
        return Look(app, f"status {status}", fits=None if status == 499 else True)

    # --- what they share ---

    @property
    def _is_silent(self) -> bool:
        """Whether nothing can be said of the token."""
        return self._anyone or not (self._claims or self._case.header)

    def _silence(self) -> Look:
        if self._anyone:
            return _unasked("the rule lets anyone in")
        if self._case.principal is not None:
            return Look(note="its claims were too large to be kept", fits=True)
        return Look(fits=None, outcome="skipped")

    def _near(self, what: str, wanted: "frozenset[str] | list[str]", have: Any) -> str:
        notes = []
        for want, near in list(pairs(wanted, have))[:_MOST_NEAR]:
            notes.append(f'{what} is "{shown(near)}", expected "{shown(want)}"')
            if what == "aud":
                self.advice.append(
                    f"if tokens for {shown(near)} are meant for this service, too, add it to "
                    f"issuers.{self._issuer.name if self._issuer else 'NAME'}.audiences; else get "
                    f"one for {shown(want)}"
                )
        return "; ".join(notes)


def _unasked(why: str) -> Look:
    return Look(note=why, fits=None, outcome="skipped")


def _issuer_of(case: Case, issuers: Mapping[str, IssuerPolicy]) -> IssuerPolicy | None:
    if case.principal is not None:
        return issuers.get(case.principal.issuer)
    iss = case.claims.get("iss")
    if isinstance(iss, str) and iss in issuers:
        return issuers[iss]
    domain = trust_domain_of(case.claims.get("sub"))
    return None if domain is None else issuers.get(SPIFFE_SCHEME + domain)


def _header_words(header: Mapping[str, Any], key: tuple[str, str | None] | None) -> str:
    if not header:
        return f"alg {key[0]}" if key is not None else ""
    return f"alg {claim(header, 'alg')}, typ {claim(header, 'typ').replace('none', 'absent')}"


def _key_note(keys: KeyFacts | None, kid: object) -> str:
    if keys is None:
        return ""
    known = [each for each in keys.kids if each is not None]
    if kid is None or kid in known:
        return keys.age
    error = f"; the last fetch failed: {keys.last_error}" if keys.last_error else ""
    return f"{keys.age}, and has {listed(known)}{error}"
