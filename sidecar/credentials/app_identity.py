"""What one configuration tells its app of callers: names, lines, and the key that signs.

Owns where the key comes from. The lines are ``sidecar.core.identity``'s, the signed one
``sidecar.core.signed_identity``'s.
"""

from typing import TYPE_CHECKING

from sidecar.config import model
from sidecar.config.references import ReferenceProblem, read_regular_file
from sidecar.core.headers import classifier
from sidecar.core.identity import IdentityRenderer
from sidecar.core.signed_identity import SignedIdentity

if TYPE_CHECKING:
    from sidecar.core.identity_key import IdentityKey


class IdentityKeyError(Exception):
    """The key cannot be used; the message is one line with its path."""


class AppIdentity:
    """Made once per configuration. A key that nobody named lives as long as this."""

    def __init__(self, identity: model.Identity, tokens: model.TokenCache) -> None:
        """*tokens* are the bounds of what is kept per token.

        Raises:
            IdentityKeyError: the configured key cannot be used.
        """
        self.signed: SignedIdentity | None = None
        self.jwks: bytes | None = None
        """The key set with which the app checks what is signed."""
        names = {header.compared for header in identity.headers}
        if (said := identity.signed) is not None:
            key = _key(said)
            self.jwks = key.jwks()
            self.signed = SignedIdentity(
                key,
                header=said.header,
                issuer=said.issuer,
                audience=said.audience,
                lifetime_seconds=said.lifetime_seconds,
                claims=said.claims,
                max_entries=tokens.max_entries,
                max_bytes=tokens.max_bytes,
            )
            names.add(said.header)
        self.classify = classifier(identity.prefix, frozenset(names))
        self.render = IdentityRenderer(
            prefix=identity.prefix,
            headers=identity.headers,
            max_bytes=identity.max_bytes,
            signed_bytes=None if self.signed is None else self.signed.size,
        ).render


def _key(said: model.SignedHeader) -> "IdentityKey":
    # Most sidecars sign nothing, and reading private keys is a large part of cryptography.
    from sidecar.core.identity_key import MAX_KEY_FILE_BYTES, generate, read_identity_key

    if said.key is None:
        return generate(said.algorithm)
    try:
        return read_identity_key(read_regular_file(said.key, MAX_KEY_FILE_BYTES))
    except (ReferenceProblem, ValueError) as problem:
        raise IdentityKeyError(f"inbound.identity.signed.key: {said.key} {problem}") from None
