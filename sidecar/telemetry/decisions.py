"""The latest decisions, as they were made: references now, words when somebody asks.

Owns what is kept of a decision and for how long. What it means in words belongs to
``sidecar.explain``. Nothing here is a token, a handle, a query string or a cookie: of a token that
was refused, its header and claims are kept, and never the signature without which they prove
nothing.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from sidecar.core.attribution import NO_EVIDENCE, Evidence
from sidecar.core.encoding import EncodingError, base64url_decode
from sidecar.core.outcome import Denial
from sidecar.core.policy import PolicyRule
from sidecar.core.principal import Credential, Principal
from sidecar.core.token_sources import TokenSource
from sidecar.telemetry.records import AttachedRecord, AttributionRecord

MAX_PATH_BYTES: Final = 512
MAX_HOST_BYTES: Final = 256
MAX_SAID_BYTES: Final = 4096
"""Of a token's header, and of its claims; larger ones are not kept."""
_MOST_KINDS: Final = 16
_REPORT: Final = re.compile(rb"([a-z]{1,32}/[0-9a-z.]{1,32}; grade=(?:strict|standard))")


class TokenSaid:
    """What a token that was refused says of itself, undecoded and unproven."""

    __slots__ = ("claims", "header")

    def __init__(self, header: bytes, claims: bytes) -> None:
        self.header: Final = header
        """JSON, if the token was made well."""
        self.claims: Final = claims


def said_by(token: bytes) -> TokenSaid | None:
    """Return what *token* says; nothing where it is no signed JWT, or a large one."""
    parts = token.split(b".", 3)
    if len(parts) != 3 or max(len(parts[0]), len(parts[1])) > MAX_SAID_BYTES * 4 // 3:
        return None
    try:
        return TokenSaid(base64url_decode(parts[0]), base64url_decode(parts[1]))
    except EncodingError:
        return None


def shown(evidence: Evidence) -> str:
    """Say what kinds of *evidence* there are; not what it is, which would be a handle."""
    kinds = ["header"] * len(evidence.context) + [claim.method for claim in evidence.claims]
    if evidence.statement is not None:
        kinds.append("an Authorization of the app's own")
    for report in evidence.carrier[:1]:
        match = _REPORT.fullmatch(report)
        kinds.append(f"carrier {match[1].decode()}" if match else "an unreadable carrier report")
    return ", ".join(kinds[:_MOST_KINDS])


class Decision:
    """One decision, and what came of it. A permit is overwritten by a later one."""

    __slots__ = (
        "at", "attached", "attribution", "causes", "denial", "destination", "direction",
        "duration_seconds", "enforced", "evidence", "host", "id", "key", "method",
        "overhead_seconds", "path", "principal", "route", "rule", "said", "seq", "source", "status",
        "token", "transaction",
    )  # fmt: skip

    def __init__(self) -> None:
        self.seq = 0
        self.id = ""
        self.at = 0.0
        """When it was over, in seconds since the epoch."""
        self.direction = ""
        self.method = b""
        self.path = b""
        """Canonical where there is a rule; as sent otherwise. Never with a query."""
        self.host = b""
        self.route = ""
        self.status = 0
        self.duration_seconds = 0.0
        self.overhead_seconds = 0.0
        self.denial: Denial | None = None
        self.enforced = True
        """Whether *denial* was the answer, and not only observed."""
        self.attribution: AttributionRecord | None = None
        self.destination = ""
        self.attached: AttachedRecord | None = None
        """The token that went with an outbound call, where that is not the caller's own."""
        self.transaction: Principal | None = None
        """What the transaction token says that came with the request, or went with the call."""
        self.rule: PolicyRule | None = None
        self.source: TokenSource | None = None
        """Where the token was, if there was one."""
        self.said: TokenSaid | None = None
        self.causes: tuple[str, ...] = ()
        """Decision ids of the inbound requests that an outbound call names."""
        self.evidence = ""
        """What else an outbound call says of its cause."""
        self.principal: Principal | None = None
        self.token = ""
        """First 16 hex digits of the token's SHA-256."""
        self.key: tuple[str, str | None] | None = None
        """Algorithm and name of the key that vouched for the token."""


def _bounded(credential: Credential) -> Principal:
    principal = credential.principal
    if len(credential.token) <= MAX_SAID_BYTES:
        return principal
    return Principal(
        principal.issuer_name,
        principal.issuer,
        principal.subject,
        principal.scopes,
        principal.roles,
        None,
        principal.client_roles,
    )


def _of_transaction(transaction: Credential) -> Principal:
    """Return what is kept of a transaction token: of a large one, what names the transaction."""
    principal = transaction.principal
    if len(transaction.token) <= MAX_SAID_BYTES:
        return principal
    named = {name: principal.claims.get(name) for name in ("txn", "sub", "req_wl")}
    return Principal(principal.issuer_name, principal.issuer, principal.subject, claims=named)


_Kind = tuple[str, str, str]
"""Direction, route and reason."""


class Decisions:
    """The latest refusals, and apart from them the latest permits.

    Permits are many and alike: the oldest goes. A refusal may be the only one of its kind: when
    there is no more room, the oldest goes of the kind (direction, route and reason) that has most,
    so that a flood of one pushes out itself and hardly any other.
    """

    def __init__(self, *, refusals: int, permits: int, wall_clock: Callable[[], float]) -> None:
        """*refusals* and *permits* are kept at most; 0 keeps none."""
        self.keeps_permits: Final = permits > 0
        self._max_permits: Final = permits
        self._max_refusals: Final = refusals
        self._clock: Final = wall_clock
        self._permits: list[Decision] = []
        self._oldest_permit = 0
        self._refusals: dict[_Kind, dict[int, Decision]] = {}
        """By sequence number, the oldest first."""
        self._held_refusals = 0
        self.recorded = 0
        """Decisions so far, whether they are still here or not."""

    @property
    def kept(self) -> int:
        """Decisions that are here."""
        return self._held_refusals + len(self._permits)

    def add(
        self,
        *,
        decision: str,
        direction: str,
        method: bytes,
        path: bytes,
        host: bytes,
        route: str,
        status: int,
        duration_seconds: float,
        overhead_seconds: float,
        credential: Credential | None,
        denial: Denial | None,
        enforced: bool,
        attribution: AttributionRecord | None = None,
        destination: str = "",
        rule: PolicyRule | None = None,
        source: TokenSource | None = None,
        token: bytes = b"",
        causes: tuple[str, ...] = (),
        evidence: Evidence = NO_EVIDENCE,
        attached: AttachedRecord | None = None,
        transaction: Credential | None = None,
    ) -> None:
        """Keep one. *path* may have its query, which is not kept; nor are *token* and handles."""
        self.recorded += 1
        if denial is not None:
            kept = Decision()
            kept.said = said_by(token) if token and credential is None else None
            kept.evidence = shown(evidence)
        else:
            kept = self._next_permit()
        end = path.find(b"?")
        if end >= 0:
            path = path[:end]
        if len(path) > MAX_PATH_BYTES:
            path = path[:MAX_PATH_BYTES]
        if len(host) > MAX_HOST_BYTES:
            host = host[:MAX_HOST_BYTES]
        if len(method) > MAX_HOST_BYTES:
            method = method[:MAX_HOST_BYTES]
        kept.seq = self.recorded
        kept.id = decision
        kept.at = self._clock()
        kept.direction = direction
        kept.method = method
        kept.path = path
        kept.host = host
        kept.route = route
        kept.status = status
        kept.duration_seconds = duration_seconds
        kept.overhead_seconds = overhead_seconds
        kept.denial = denial
        kept.enforced = enforced
        kept.attribution = attribution
        kept.destination = destination
        kept.attached = attached
        kept.transaction = None if transaction is None else _of_transaction(transaction)
        kept.rule = rule
        kept.source = source
        kept.causes = causes
        if credential is None:
            kept.principal = None
            kept.key = None
            kept.token = ""
        else:
            kept.principal = _bounded(credential)
            kept.key = credential.key
            kept.token = credential.log_id
        if denial is not None and self._max_refusals:
            self._keep_refusal((direction, route, denial.reason.code), kept)

    def _next_permit(self) -> Decision:
        """Return what the next permit is written to: the oldest one, once there is no more room.

        Nothing is made and nothing dropped then, which would be the most of what keeping costs.
        """
        permits = self._permits
        if len(permits) < self._max_permits:
            kept = Decision()
            permits.append(kept)
            return kept
        if not self._max_permits:
            return Decision()
        kept = permits[self._oldest_permit]
        self._oldest_permit += 1
        if self._oldest_permit == self._max_permits:
            self._oldest_permit = 0
        return kept

    def _keep_refusal(self, kind: _Kind, kept: Decision) -> None:
        refusals = self._refusals
        alike = refusals.get(kind)
        if alike is None:
            refusals[kind] = alike = {}
        alike[kept.seq] = kept
        if self._held_refusals < self._max_refusals:
            self._held_refusals += 1
            return
        # What has its fair share already makes room for itself, without looking at the others.
        most, crowd = kind, alike
        if len(alike) <= max(1, self._max_refusals // len(refusals)):
            most = max(refusals, key=lambda other: _crowding(refusals[other]))
            crowd = refusals[most]
        del crowd[next(iter(crowd))]
        if not crowd:
            del refusals[most]

    def newest(
        self, limit: int, *, before: int | None = None, refused: bool = False, reason: str = ""
    ) -> list[Decision]:
        """Return at most *limit* of them, the newest first, older than number *before*.

        They are for now, and not to be kept: permits are overwritten.

        *refused*: only what was not let through; *reason*: only what had this one.
        """
        kept = sorted(self._kept(refused=refused), key=_seq_of, reverse=True)
        return [
            each
            for each in kept
            if (before is None or each.seq < before)
            and (not reason or (each.denial is not None and each.denial.reason.code == reason))
        ][:limit]

    def find(self, decision: str) -> Decision | None:
        """Return the decision with this id, if it is still here."""
        for each in self._kept(refused=False):
            if each.id == decision:
                return each
        return None

    def _kept(self, *, refused: bool) -> Iterator[Decision]:
        """Give them all; with *refused* those alone that were not let through."""
        for alike in self._refusals.values():
            for each in alike.values():
                if each.enforced or not refused:
                    yield each
        if not refused:
            yield from self._permits


def _crowding(alike: dict[int, Decision]) -> tuple[int, int]:
    """Order kinds by how many there are of each, and those of one size by who came first."""
    return len(alike), -next(iter(alike))


def _seq_of(decision: Decision) -> int:
    return decision.seq
