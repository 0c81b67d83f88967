"""Whatever lies in a store gives a token of this place, or the one error there is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.obtained import ObtainedToken
from sidecar.credentials.sealed_tokens import Seal, SealError, _bound_to
from tests.properties.test_verification_properties import JSON, quick
from tests.support.redis import KEY

PLACE = b"place"
SEAL = Seal([KEY], "jwt-sidecar")
(NAME,) = SEAL.names(PLACE)
GOOD = {
    "for": PLACE.hex(),
    "token": "t",
    "asked_at": 1.0,
    "expires_at": 2,
    "issued_type": "",
    "subject": "",
    "actor": "",
}


def sealed(content: bytes) -> bytes:
    """Encrypt anything, as only a holder of the key can."""
    nonce = bytes(12)
    cipher = SEAL._keys[0].cipher
    return b"1:1:" + nonce + cipher.encrypt(nonce, content, _bound_to(NAME, b"1"))


@quick
@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda rest: b"1:1:" + rest))
def test_any_bytes_as_value(value: bytes) -> None:
    """Nobody without the key writes a value that is read."""
    with pytest.raises(SealError):
        SEAL.open(PLACE, NAME, value)


@quick
@given(st.binary(max_size=100))
def test_any_bytes_that_were_encrypted(content: bytes) -> None:
    """A pod with a defect is no better."""
    with pytest.raises(SealError):
        SEAL.open(PLACE, NAME, sealed(content))


@quick
@given(st.dictionaries(st.sampled_from(sorted(GOOD)), JSON | st.just(10**400), max_size=3))
def test_any_json_that_was_encrypted(said: dict[str, Any]) -> None:
    """Whatever types the members have."""
    content = json.dumps({**GOOD, **said}).encode()
    try:
        token = SEAL.open(PLACE, NAME, sealed(content))
    except SealError:
        return
    assert isinstance(token, ObtainedToken)
    assert token.token.decode() == {**GOOD, **said}["token"]


def test_as_it_should_be() -> None:
    """The examples above fail for what is changed in them, and nothing else."""
    token = SEAL.open(PLACE, NAME, sealed(json.dumps(GOOD).encode()))
    assert token == ObtainedToken(b"t", 1.0, 2.0)
