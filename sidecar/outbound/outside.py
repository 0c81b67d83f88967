"""Callers' tokens that go where they are not for: counted, and said once about each destination."""

from collections.abc import Callable
from typing import Final

from sidecar.core.encoding import printable
from sidecar.core.principal import Credential

_MAX_SHOWN: Final = 200


class RelayedOutside:
    """A token that one service may pass on anywhere opens all of them (RFC 9700, section 2.3)."""

    def __init__(self, count: Callable[[str], None], warn: Callable[..., object]) -> None:
        self._count = count
        self._warn = warn
        self._warned: set[str] = set()

    def __call__(self, destination: str, credential: Credential) -> None:
        self._count(destination)
        if destination in self._warned:
            return
        self._warned.add(destination)
        named = credential.principal.claims.get("aud", "nobody")
        shown = named if isinstance(named, str) else ", ".join(map(str, named))
        self._warn(
            "tokens of the issuer %s for %s are relayed to the destination %s, which does not take "
            "that `aud`, or nobody said so: write `token: exchange`, or name under `audiences` "
            "what the destination takes (further ones are only counted)",
            credential.principal.issuer_name,
            printable(shown, _MAX_SHOWN),
            destination,
        )
