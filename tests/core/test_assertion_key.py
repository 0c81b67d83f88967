"""The key that signs who a client is, in each of its forms."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from sidecar.core.assertion_key import read_assertion_key

RSA = rsa.generate_private_key(65537, 2048)
CASES: list[tuple[Any, Any, str]] = [
    (RSA, RSAAlgorithm, "RS256"),
    (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm, "ES256"),
    (ec.generate_private_key(ec.SECP384R1()), ECAlgorithm, "ES384"),
    (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm, "EdDSA"),
]


@pytest.mark.parametrize("case", CASES, ids=[case[2] for case in CASES])
def test_pem_and_jwk(case: tuple[Any, Any, str]) -> None:
    """Both sign with the usual algorithm of such a key; a JWK has its own name and algorithm."""
    key, algorithms, expected = case
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    jwk = {**json.loads(algorithms.to_jwk(key)), "kid": "k1"}
    for content, kid in ((pem, None), (json.dumps(jwk).encode(), "k1")):
        token = read_assertion_key(content).sign({"iss": "me"})
        header = jwt.get_unverified_header(token)
        assert (header["alg"], header.get("kid")) == (expected, kid)
        assert jwt.decode(token, key.public_key(), [expected]) == {"iss": "me"}


def test_what_is_configured_wins() -> None:
    """Over what the JWK says of itself."""
    jwk = {**json.loads(RSAAlgorithm.to_jwk(RSA)), "kid": "k1", "alg": "RS512"}
    content = json.dumps(jwk).encode()
    assert read_assertion_key(content).algorithm == "RS512"
    token = read_assertion_key(content, algorithm="PS256", key_id="k2").sign({})
    assert jwt.get_unverified_header(token) == {"alg": "PS256", "kid": "k2", "typ": "JWT"}


def test_a_jwk_for_something_else() -> None:
    """What it says of itself is not repeated unless it exists."""
    jwk = {**json.loads(RSAAlgorithm.to_jwk(RSA)), "alg": "secret"}
    with pytest.raises(ValueError, match="and not for another"):
        read_assertion_key(json.dumps(jwk).encode())


def test_the_key_is_in_no_repr() -> None:
    """Nor are its numbers."""
    pem = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert "RSA" not in repr(read_assertion_key(pem))
