"""What one configuration tells its app of callers: names, lines, and the key that signs.

Owns where the key comes from. The lines are ``sidecar.core.identity``'s, the signed one
``sidecar.core.signed_identity``'s.
"""

from typing import TYPE_CHECKING

from sidecar.config import model
from sidecar.config.references import ReferenceProblem, read_regular_file
from sidecar.core.headers import classifier
from sidecar.core.identity import IdentityHeader, IdentityRenderer
from sidecar.core.signed_identity import SignedIdentity

if TYPE_CHECKING:
    from sidecar.core.identity_key import IdentityKey


class IdentityKeyError(Exception):
    """The key cannot be used; the message is one line with its path."""


class AppIdentity:
    """Made once per configuration. A key that nobody named lives as long as the process."""

    def __init__(
        self,
        identity: model.Identity,
        tokens: model.TokenCache,
        *,
        transactions: model.TransactionTokens | None = None,
        before: "AppIdentity | None" = None,
    ) -> None:
        """*tokens* are the bounds of what is kept per token, *transactions* what the app is told
        of transaction tokens.

        What was signed under the configuration *before* can still be checked: its key is
        published beside a new one.

        Raises:
            IdentityKeyError: the configured key cannot be used.
        """
        self.signed: SignedIdentity | None = None
        self.jwks: bytes | None = None
        """The key set with which the app checks what is signed."""
        self._said = identity.signed
        self._pem = b""
        self._key: IdentityKey | None = None
        names = {header.compared for header in identity.headers}
        if (said := identity.signed) is not None:
            key = self._key = self._key_of(said, before)
            earlier = None if before is None else before._key
            self.jwks = key.jwks(None if earlier is key else earlier)
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
        told = transaction_headers(identity.prefix, transactions)
        names.update(header.compared for header in told)
        self.classify = classifier(identity.prefix, frozenset(names))
        self.render = IdentityRenderer(
            prefix=identity.prefix,
            headers=identity.headers,
            max_bytes=identity.max_bytes,
            signed_bytes=None if self.signed is None else self.signed.size,
        ).render
        self.render_transaction = IdentityRenderer(
            prefix=identity.prefix, headers=told, max_bytes=identity.max_bytes, usual=False
        ).render

    def is_current(self) -> bool:
        """Whether the file of the key, if there is one, holds what it held when it was read."""
        if self._said is None or self._said.key is None:
            return True
        try:
            return _content(self._said.key) == self._pem
        except IdentityKeyError:
            return False

    def _key_of(self, said: model.SignedHeader, before: "AppIdentity | None") -> "IdentityKey":
        # Most sidecars sign nothing, and reading private keys is a large part of cryptography.
        from sidecar.core.identity_key import generate, read_identity_key

        if said.key is None:
            if before is not None and before._generated_for(said.algorithm):
                assert before._key is not None
                return before._key
            return generate(said.algorithm)
        self._pem = _content(said.key)
        if before is not None and before._pem == self._pem and before._key is not None:
            return before._key
        try:
            return read_identity_key(self._pem)
        except ValueError as problem:
            raise _unusable(said.key, problem) from None

    def _generated_for(self, algorithm: str) -> bool:
        said = self._said
        return said is not None and said.key is None and said.algorithm == algorithm


def transaction_headers(
    prefix: str, transactions: model.TransactionTokens | None
) -> tuple[IdentityHeader, ...]:
    """Return the headers that tell the app of a transaction token; none where it is not told."""
    if transactions is None:
        return ()
    usual = IdentityHeader(f"{prefix}transaction", "claim", ("txn",), format="text")
    return (usual, *transactions.headers)


def _content(path: str) -> bytes:
    from sidecar.core.identity_key import MAX_KEY_FILE_BYTES

    try:
        return read_regular_file(path, MAX_KEY_FILE_BYTES)
    except ReferenceProblem as problem:
        raise _unusable(path, problem) from None


def _unusable(path: str, problem: Exception) -> IdentityKeyError:
    return IdentityKeyError(f"inbound.identity.signed.key: {path} {problem}")
