"""One decision as it is explained, whether it was kept by a running sidecar or made offline."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.core.encoding import EncodingError, json_object
from sidecar.core.outcome import Denial
from sidecar.core.policy import PolicyRule
from sidecar.core.principal import Principal
from sidecar.telemetry.decisions import TokenSaid
from sidecar.telemetry.records import AttachedRecord

_NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that is known of one decision. *claims* are unproven unless *principal* is."""

    direction: str
    method: bytes
    path: bytes
    host: bytes = b""
    at: float
    """When it was decided, in seconds since the epoch."""
    rule: PolicyRule | None = None
    route: str = ""
    denial: Denial | None = None
    enforced: bool = True
    status: int = 0
    """0: nothing was sent anywhere."""
    source: str = ""
    """Where the token was; empty: there was none, or more than one."""
    header: Mapping[str, Any] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)
    principal: Principal | None = None
    key: tuple[str, str | None] | None = None
    """Algorithm and name of the key that vouched for the token."""
    transaction: Principal | None = None
    """What the transaction token said that came with the request, or went with the call."""
    signature_skipped: bool = False
    """Nobody looked at a signature, by the wish of who asks."""
    destination: str = ""
    method_of: str = ""
    """By what an outbound call was attributed."""
    grade: str = ""
    evidence: str = ""
    causes: tuple[str, ...] = ()
    attached: AttachedRecord | None = None
    """The token that went with an outbound call, where that is not the caller's own."""


def read_said(said: TokenSaid | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return header and claims of a token that was refused, each empty where it is no JSON."""
    if said is None:
        return _NOTHING, _NOTHING
    return _object(said.header), _object(said.claims)


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        return json_object(text)
    except EncodingError:
        # Refused, because something about it is wrong; what can be read is still worth showing.
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return _NOTHING
    return found if isinstance(found, dict) else _NOTHING
