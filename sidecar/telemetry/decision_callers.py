"""Who called, as a recorded decision says it: what rules may ask, hidden as configured.

Made once per token and kept, because a caller is the same in each of its requests.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from msgspec import Raw
from msgspec.json import Encoder

from sidecar.core.actors import actor_chain
from sidecar.core.claim_paths import ABSENT, ClaimPath, look_up, show_claim_path
from sidecar.core.principal import Principal
from sidecar.telemetry.decision_records import Caller
from sidecar.telemetry.records import AttachedRecord

MAX_CALLER_BYTES: Final = 16 * 1024
"""Of one caller as JSON; whoever is larger is named and not described."""
_CLIENT_CLAIMS: Final = ("azp", "client_id", "appid", "cid")
_encode: Final = Encoder().encode


@dataclass(frozen=True, slots=True)
class Redaction:
    """Which values stand in the log as a hash. Equal ones stay equal, so callers can be told apart.

    Without *key* anybody who can guess a value can recognise it.
    """

    paths: frozenset[ClaimPath]
    key: bytes = b""

    def hide(self, value: object) -> str:
        """Return what is written in place of *value*."""
        text = value if isinstance(value, str) else _encode(value).decode()
        content = text.encode("utf-8", "surrogatepass")
        if self.key:
            return f"hmac:{hmac.digest(self.key, content, 'sha256')[:8].hex()}"
        return f"sha256:{sha256(content).digest()[:8].hex()}"


@dataclass(frozen=True, slots=True)
class RecordedCaller:
    """A caller ready to be written, once for all requests with its token."""

    content: Raw
    client: str
    audiences: list[str]
    hidden: tuple[tuple[bytes, bytes], ...]
    """What must not stand in a path either, and what stands there instead."""
    size_bytes: int

    def cleaned(self, path: bytes, patterns: tuple[str, ...] = ()) -> bytes:
        """Return *path* with each segment hidden that says what the caller's claims hide.

        A segment that *patterns* of the rule have as it is, is the operator's word and stays.
        """
        literal = {each for pattern in patterns for each in pattern.lower().encode().split(b"/")}
        segments = path.split(b"/")
        for index, segment in enumerate(segments):
            decoded = unquote_to_bytes(segment)
            for value, shown in self.hidden:
                if decoded == value and segment.lower() not in literal:
                    segments[index] = shown
        return b"/".join(segments)


class Callers:
    """Makes the recorded form of a principal."""

    def __init__(
        self,
        claims: tuple[ClaimPath, ...],
        redaction: Redaction | None,
        read_as: Mapping[str, str],
    ) -> None:
        """*claims*: recorded besides the usual; *read_as*: by the name of the issuer."""
        self._claims = claims
        self._redaction = redaction
        self._read_as = read_as

    def recorded(self, principal: Principal) -> RecordedCaller:
        """Return *principal* as JSON, within the bound."""
        claims = principal.claims
        client = next(
            (found for name in _CLIENT_CLAIMS if isinstance(found := claims.get(name), str)), ""
        )
        found = {path: look_up(claims, path) for path in self._claims}
        chain = actor_chain(claims)
        caller = Caller(
            issuer=principal.issuer_name,
            iss=principal.issuer,
            subject=principal.subject,
            client=client,
            audiences=_audiences(claims),
            scopes=sorted(principal.scopes),
            roles=sorted(principal.roles),
            client_roles={each: sorted(held) for each, held in principal.client_roles.items()},
            exp=_number(claims.get("exp")),
            iat=_number(claims.get("iat")),
            acr=acr if isinstance(acr := claims.get("acr"), str) else None,
            auth_time=_number(claims.get("auth_time")),
            act=chain[0] if chain else None,
            actors=list(chain) if len(chain) > 1 else [],
            claims={show_claim_path(p): v for p, v in found.items() if v is not ABSENT},
            absent=[show_claim_path(p) for p, v in found.items() if v is ABSENT],
            read_as=self._read_as.get(principal.issuer_name, ""),
        )
        hidden = () if self._redaction is None else _hide(caller, self._redaction)
        content = _encoded(caller)
        return RecordedCaller(Raw(content), caller.client, caller.audiences, hidden, len(content))

    def veiled(self, attached: AttachedRecord) -> AttachedRecord:
        """Return *attached* with what of callers is hidden hidden in it, too."""
        redaction = self._redaction
        subject, actor = attached.subject, attached.actor
        if redaction is not None:
            if subject and ("sub",) in redaction.paths:
                subject = redaction.hide(subject)
            if actor and ("act", "sub") in redaction.paths:
                actor = redaction.hide(actor)
        return AttachedRecord(attached.kind, attached.token, subject, actor, attached.audience)


def _encoded(caller: Caller) -> bytes:
    try:
        content = _encode(caller)
    except UnicodeEncodeError:  # half a surrogate pair, which no UTF-8 can say
        content = b""
    if content and len(content) <= MAX_CALLER_BYTES:
        return content
    subject = caller.subject.encode("utf-8", "replace").decode()
    return _encode(Caller(issuer=caller.issuer, iss=caller.iss, subject=subject, cut=True))


def _hide(caller: Caller, redaction: Redaction) -> tuple[tuple[bytes, bytes], ...]:
    """Hide in *caller* what *redaction* says; return what was hidden and how it is shown."""
    hidden: list[tuple[bytes, bytes]] = []

    def replaced(path: ClaimPath, value: Any) -> Any:
        if path not in redaction.paths or value in (None, ""):
            return value
        shown = redaction.hide(value)
        if isinstance(value, str | int):
            hidden.append((str(value).encode("utf-8", "surrogatepass"), shown.encode()))
        caller.redacted.append(show_claim_path(path))
        return shown

    caller.redacted = []
    caller.subject = replaced(("sub",), caller.subject)
    caller.act = replaced(("act", "sub"), caller.act)
    if caller.actors and ("act", "sub") in redaction.paths:
        # Whoever hides the current actor hides those before it, whose paths only differ in depth.
        caller.actors = [redaction.hide(each) if each else each for each in caller.actors]
    for name in _CLIENT_CLAIMS:
        if (name,) in redaction.paths:
            caller.client = replaced((name,), caller.client)
            break
    for path in redaction.paths:
        shown = show_claim_path(path)
        if shown in caller.claims:
            caller.claims[shown] = replaced(path, caller.claims[shown])
    return tuple(hidden)


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    audience = claims.get("aud", [])
    return [audience] if isinstance(audience, str) else list(audience)


def _number(value: object) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def quoted(path: bytes) -> bytes:
    """Return *path* with whatever no URI can hold percent-encoded, so that it is text."""
    if path.isascii():
        return path
    return quote_from_bytes(path, safe="/%:@!$&'()*+,;=~").encode()


Describe = Callable[[Principal], RecordedCaller]
