"""What the app is told of the caller beyond the usual four: claims of the token as headers.

Owns which value becomes which field line, and the bound of all that is added to a request. A value
that its header cannot carry refuses the token: an app that is told a part, or something else, may
permit what it would not have permitted.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sidecar.core.claim_paths import ABSENT, ClaimPath, look_up, show_claim_path
from sidecar.core.encoding import printable
from sidecar.core.field_values import encode
from sidecar.core.headers import identity_lines
from sidecar.core.names import IDENTITY_PREFIX, folded
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Principal

IdentitySource = Literal["claim", "subject", "issuer", "scopes", "roles", "client_roles"]
IdentityFormat = Literal["text", "comma", "space", "semicolon", "pipe", "json"]

_SEPARATORS: Final[dict[IdentityFormat, str]] = {
    "comma": ",",
    "space": " ",
    "semicolon": ";",
    "pipe": "|",
}


@dataclass(frozen=True, slots=True)
class IdentityHeader:
    """One header and what stands in it."""

    name: str
    """Lower-case."""
    source: IdentitySource
    path: ClaimPath = ()
    """Of a ``claim``."""
    client: str = ""
    """Whose ``client_roles``."""
    format: IdentityFormat = "comma"
    prefix: str = ""
    """Before each value, such as ``ROLE_``."""

    def __str__(self) -> str:
        match self.source:
            case "claim":
                return show_claim_path(self.path)
            case "client_roles":
                return f"roles of {self.client}"
            case other:
                return other

    @property
    def compared(self) -> str:
        """The name in the form in which it is compared with what others send."""
        return folded(self.name.encode("ascii")).decode("ascii")


class IdentityRenderer:
    """Makes the field lines of one principal. Runs once per token."""

    def __init__(
        self,
        *,
        prefix: str = IDENTITY_PREFIX,
        headers: Sequence[IdentityHeader] = (),
        max_bytes: int,
        signed_bytes: Callable[[Principal], int] | None = None,
        usual: bool = True,
    ) -> None:
        """*signed_bytes* says how long the line is that is signed for a principal. *usual*: the
        four headers that tell of a caller come first.
        """
        self._prefix = prefix
        self._headers = tuple(headers)
        self._max_bytes = max_bytes
        self._signed_bytes = signed_bytes
        self._usual = usual

    def render(self, principal: Principal) -> bytes | Denial:
        """Return all lines that do not change while the token is good, or why it cannot be used."""
        lines = identity_lines(principal, self._prefix) if self._usual else b""
        for header in self._headers:
            value = _value(header, principal)
            if isinstance(value, Denial):
                return value
            if value is not None:
                lines += f"{header.name}: {value}\r\n".encode("ascii")
        size = len(lines)
        if self._signed_bytes is not None:
            size += self._signed_bytes(principal)
        if size > self._max_bytes:
            return Denial(
                Reason.IDENTITY_TOO_LARGE,
                f"the headers that tell the app who calls would have {size} bytes; "
                f"inbound.identity.max_size is {self._max_bytes}",
            )
        return lines


def _value(header: IdentityHeader, principal: Principal) -> str | Denial | None:
    """Return the field value, ``None`` where there is nothing to say."""
    found = _found(header, principal)
    if found is ABSENT:
        return None
    if header.format == "json":
        # DEL is the one character that JSON leaves as it is and a field value cannot have.
        return json.dumps(found, separators=(",", ":")).replace("\x7f", "\\u007f")
    separator = _SEPARATORS.get(header.format, "")
    if not isinstance(found, list):
        text = _text(found)
        return _unfit(header, found) if text is None else header.prefix + encode(text, separator)
    if not separator:
        return _unfit(header, found)
    parts: list[str] = []
    for element in found:
        text = _text(element)
        if text is None:
            return _unfit(header, found)
        parts.append(header.prefix + encode(text, separator))
    return separator.join(parts) if parts else None


def _found(header: IdentityHeader, principal: Principal) -> Any:
    match header.source:
        case "subject":
            return principal.subject
        case "issuer":
            return principal.issuer
        case "scopes":
            return sorted(principal.scopes) or ABSENT
        case "roles":
            return sorted(principal.roles) or ABSENT
        case "client_roles":
            return sorted(principal.client_roles.get(header.client, ())) or ABSENT
        case _:
            return _claim(principal, header.path)


def _claim(principal: Principal, path: ClaimPath) -> Any:
    """Return the claim; ``null`` is how some issuers write that there is none."""
    value = look_up(principal.claims, path)
    if value is None and isinstance(look_up(principal.claims, path[:-1]), dict):
        return ABSENT
    return value


def _text(value: object) -> str | None:
    """Return a string as it is, a number or boolean as JSON writes it; ``None``: it is neither."""
    if isinstance(value, str):
        return value
    if value is True or value is False or isinstance(value, (int, float)):
        return json.dumps(value)
    return None


def _unfit(header: IdentityHeader, value: object) -> Denial:
    kind = "an object" if isinstance(value, dict) else "a list"
    if value is None:
        kind = "inside something that is no object"
    elif isinstance(value, list) and header.format != "text":
        kind = "a list with something else in it than strings, numbers and booleans"
    return Denial(
        Reason.CLAIMS_MALFORMED,
        f"the token's {printable(str(header))} is {kind}, "
        f"which the header {header.name} ({header.format}) cannot carry",
    )
