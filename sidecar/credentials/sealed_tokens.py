"""A token as it lies in a store that others can read and write.

Owns that they learn nothing of it and cannot pass it off for another. A value is encrypted and
authenticated (AES-256-GCM) together with the name it lies under and the id of the key; the name is
a keyed digest of what the token was asked for and of its subject, so that whoever holds a caller's
token still cannot find what was obtained with it.
"""

import hmac
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidecar.config.model import SharingKey
from sidecar.core.encoding import EncodingError, base64url_encode, json_object
from sidecar.core.obtained import ObtainedToken

MAX_VALUE_BYTES: Final = 64 * 1024
"""Tokens have up to 16 KiB; what is longer is not ours."""

_VERSION: Final = b"1"
_NONCE_BYTES: Final = 12
_END: Final = 1e15
"""Of time, in seconds: an integer may be too long to become a float."""
_PURPOSE: Final = b"jwt-sidecar shared token 1"


class SealError(ValueError):
    """A value is not what this place should hold. The message quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class _Key:
    id: bytes
    cipher: AESGCM
    naming: bytes


class Seal:
    """Encrypts with the first of *keys* and reads what any of them has encrypted."""

    def __init__(
        self,
        keys: Sequence[SharingKey],
        prefix: str,
        *,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """*random* gives as many octets as it is asked for, unpredictable ones."""
        self._prefix = prefix.encode()
        self._random = random
        self._keys = [
            # Neither use of the secret says anything about the other (as in RFC 5869).
            _Key(
                key.id.encode(),
                AESGCM(_derived(key.secret, b"encryption")),
                _derived(key.secret, b"naming"),
            )
            for key in keys
        ]

    def names(self, place: bytes) -> list[bytes]:
        """Return where the token of *place* may lie, the one under the current key first."""
        return [self._name(key, place) for key in self._keys]

    def close(self, place: bytes, token: ObtainedToken) -> tuple[bytes, bytes]:
        """Return the name and the value with which *token* is put away."""
        key = self._keys[0]
        name = self._name(key, place)
        content = json.dumps(
            {
                "for": place.hex(),
                "token": token.token.decode("ascii"),
                "asked_at": token.asked_at,
                "expires_at": token.expires_at,
                "issued_type": token.issued_type,
                "subject": token.subject,
                "actor": token.actor,
            }
        ).encode()
        # 96 random bits: a key is good for 2**32 of them (NIST SP 800-38D, section 8.3).
        nonce = self._random(_NONCE_BYTES)
        sealed = key.cipher.encrypt(nonce, content, _bound_to(name, key.id))
        return name, b":".join((_VERSION, key.id, nonce + sealed))

    def open(self, place: bytes, name: bytes, value: bytes) -> ObtainedToken:
        """Return the token in *value*, which lay under *name*. Raises ``SealError``."""
        parts = value.split(b":", 2)
        if len(value) > MAX_VALUE_BYTES or len(parts) != 3 or parts[0] != _VERSION:
            raise SealError("is nothing that this version has written")
        _, key_id, sealed = parts
        key = next((each for each in self._keys if each.id == key_id), None)
        if key is None:
            raise SealError("is encrypted with a key that is not configured")
        try:
            content = key.cipher.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound_to(name, key_id)
            )
            return _read(json_object(content), place)
        except (InvalidTag, ValueError) as error:
            if isinstance(error, SealError):
                raise
            cause = "is not valid" if isinstance(error, EncodingError) else "cannot be decrypted"
            raise SealError(f"{cause}: it was changed, or moved from another place") from None

    def _name(self, key: _Key, place: bytes) -> bytes:
        digest = hmac.digest(key.naming, place, "sha256")
        return self._prefix + b":token:" + base64url_encode(digest)


def _derived(secret: bytes, use: bytes) -> bytes:
    return hmac.new(secret, _PURPOSE + b" " + use, sha256).digest()


def _bound_to(name: bytes, key_id: bytes) -> bytes:
    return b"\n".join((_PURPOSE, name, key_id))


def _read(members: dict[str, Any], place: bytes) -> ObtainedToken:
    if members.get("for") != place.hex():
        raise SealError("is for another request or subject")
    token, issued_type = members.get("token"), members.get("issued_type")
    subject, actor = members.get("subject"), members.get("actor")
    if not (
        isinstance(token, str)
        and token.isascii()
        and isinstance(issued_type, str)
        and isinstance(subject, str)
        and isinstance(actor, str)
    ):
        raise SealError("lacks a member")
    return ObtainedToken(
        token.encode("ascii"),
        _instant(members.get("asked_at")),
        _instant(members.get("expires_at")),
        issued_type,
        subject,
        actor,
    )


def _instant(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_END < value < _END:
        raise SealError("holds a time that is none")
    return float(value)
