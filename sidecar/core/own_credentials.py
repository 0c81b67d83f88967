"""Which credentials are ours to hold back from a place that no rule names.

An app's own credential for a third party passes; a handle, a token of an issuer we trust and the
token of a live request do not, in whatever scheme they are written.
"""

import base64
import binascii
import json
import re
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any

from sidecar.core.attribution import HANDLE_PATTERN, Lookup
from sidecar.core.families import SPIFFE_SCHEME
from sidecar.core.jose import media_type
from sidecar.core.names import TRANSACTION_TYPE

_HANDLE = re.compile(HANDLE_PATTERN)
_WORD = re.compile(rb"[A-Za-z0-9._=-]+")
_OPAQUE = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""``b64token`` of RFC 6750: a live request's token need not be a JWT."""


def is_ours(value: bytes, issuers: AbstractSet[str], lookup: Lookup) -> bool:
    """Whether *value*, of a field or cookie, holds what must not go to a third party.

    A token's signature and times do not matter here: an expired token still says who its user is,
    and what we do not accept may be accepted elsewhere.
    """
    if _HANDLE.search(value) or any(any(lookup.find_token(w)) for w in _OPAQUE.findall(value)):
        return True
    return any(
        any(any(lookup.find_token(part)) for part in word.split(b"="))
        or _is_held_back(_issuers_of(word), issuers)
        for word in _WORD.findall(value)
        if word.count(b".") >= 2
    )


def _is_held_back(said: frozenset[str], issuers: AbstractSet[str]) -> bool:
    return TRANSACTION_TYPE in said or not issuers.isdisjoint(said)


def _issuers_of(token: bytes) -> frozenset[str]:
    """Return every ``iss`` in any part of what may be a JWT; read leniently, on purpose.

    And the trust domain of every ``sub`` that is a SPIFFE ID: a JWT-SVID has no ``iss``, or one
    that says nothing. Of a transaction token, which need not have one either, its type: whoever's
    it is, it has no business outside its trust domain, nor in any other place.
    """
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for name, value in pairs:
            if name == "iss" and isinstance(value, str):
                found.append(value)
            elif name == "sub" and isinstance(value, str) and value.startswith(SPIFFE_SCHEME):
                domain = value[len(SPIFFE_SCHEME) :].partition("/")[0]
                found.append(SPIFFE_SCHEME + domain)
            elif name == "typ" and isinstance(value, str) and media_type(value) == TRANSACTION_TYPE:
                found.append(TRANSACTION_TYPE)
        return dict(pairs)

    for part in token.split(b"."):
        # What is no JSON is not read by anybody; what was seen of it before still counts.
        with suppress(binascii.Error, ValueError, RecursionError):
            decoded = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
            json.loads(decoded, object_pairs_hook=note)
    return frozenset(found)
