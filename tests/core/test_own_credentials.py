"""What of an Authorization field is ours to hold back from a third party."""

import base64
import json
import math
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.core.attribution import CallTerms, Entry
from sidecar.core.own_credentials import is_ours
from sidecar.core.principal import Credential, Principal
from sidecar.credentials.ledger import Ledger

ISSUERS = frozenset({"https://issuer.example"})
EMPTY = Ledger(10, clock=lambda: 0.0)


def jwt(payload: bytes, *, padded: bool = False) -> bytes:
    encoded = base64.urlsafe_b64encode(payload)
    return b"eyJh." + (encoded if padded else encoded.rstrip(b"=")) + b".c2ln"


OURS = json.dumps({"iss": "https://issuer.example", "sub": "alice"}).encode()


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer sdc1" + b"0" * 28,
        b"Basic sdc1" + b"a" * 28 + b"==",
        b"Bearer " + jwt(OURS),
        b"bearer  " + jwt(OURS),
        b"Bearer " + jwt(OURS, padded=True),
        b"Token token=" + jwt(OURS),
        b'Custom a="b", jwt="' + jwt(OURS) + b'"',
        jwt(OURS),
        jwt(OURS) + b".x.y",
        b"key." + jwt(OURS),
        jwt(b'{"iss": "https:\\/\\/issuer.example"}'),
        jwt(b'{"iss": "https://issuer.example", "iss": "https://other.example"}'),
        jwt(b'{"iss": "https://other.example", "iss": "https://issuer.example"}'),
        jwt(b'{"x": {"iss": "https://issuer.example"}}'),
    ],
)
def test_handles_and_tokens_of_our_issuers_are_ours(value: bytes) -> None:
    """In whatever scheme, spelled in whatever way somebody could still read."""
    assert is_ours(value, ISSUERS, EMPTY)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer api-key",
        b"Basic dXNlcjpwYXNz",
        b"Bearer a.b.c",
        b"Bearer " + jwt(b'{"iss": "https://issuer.example.org"}'),
        b"Bearer " + jwt(b'{"iss": ["https://issuer.example"]}'),
        b"Bearer " + jwt(b"not json"),
        b"AWS4-HMAC-SHA256 Credential=AKID/20260101/eu/s3/aws4_request, Signature=abc",
    ],
)
def test_an_apps_own_credential_is_not(value: bytes) -> None:
    """Keys, passwords, signatures and other people's tokens are the app's business."""
    assert not is_ours(value, ISSUERS, EMPTY)


def test_the_token_of_a_live_request_is_ours() -> None:
    """Whatever is in it; and no longer once the request has ended, unless its issuer says so."""
    ledger = Ledger(10, clock=lambda: 0.0)
    token = b"opaque.to.everybody"
    credential = Credential(
        Principal("shop", "https://issuer.example", "alice"),
        token,
        sha256(token).digest(),
        math.inf,
        -math.inf,
    )
    entry = ledger.open(credential, "r", CallTerms(60.0), ledger.new_handle())
    assert isinstance(entry, Entry)
    assert is_ours(b"Bearer " + token, ISSUERS, ledger)
    assert is_ours(b"Token token=" + token, ISSUERS, ledger)
    ledger.close(entry)
    assert not is_ours(b"Bearer " + token, ISSUERS, ledger)


@pytest.mark.parametrize("token", [b"opaque", b"ory_at_a.b", b"a~b+c/d=="])
def test_an_opaque_token_of_a_live_request_is_ours(token: bytes) -> None:
    """It need not look like a JWT, nor stand behind Bearer."""
    ledger = Ledger(10, clock=lambda: 0.0)
    credential = Credential(
        Principal("shop", "https://issuer.example", "alice"),
        token,
        sha256(token).digest(),
        math.inf,
        -math.inf,
    )
    ledger.open(credential, "r", CallTerms(60.0), ledger.new_handle())
    for value in (b"Bearer " + token, b'Custom a="b", x="' + token + b'"', b"Token token=" + token):
        assert is_ours(value, ISSUERS, ledger)
    assert not is_ours(b"Bearer another", ISSUERS, ledger)


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"a." * 50)
@example(jwt(b"[" * 100_000))
def test_any_bytes_give_a_value(value: bytes) -> None:
    """Nothing raises."""
    assert is_ours(value, ISSUERS, EMPTY) in (True, False)
