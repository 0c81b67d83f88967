"""The check of a signature, where the form of key or signature decides."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sidecar.core.signatures import Ed25519Key

SIGNED = b"header.payload"
IDENTITY = b"\x01" + bytes(31)
"""The encoding of the neutral point: multiplied by anything it stays what it is."""


@pytest.fixture
def private_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def key(private_key: Ed25519PrivateKey) -> Ed25519Key:
    return Ed25519Key(private_key.public_key().public_bytes_raw())


def test_ed25519_signature(private_key: Ed25519PrivateKey, key: Ed25519Key) -> None:
    """A signature that OpenSSL made is good for what it was made over, and for nothing else."""
    signature = private_key.sign(SIGNED)
    key.verify(signature, SIGNED)
    with pytest.raises(InvalidSignature):
        key.verify(signature, SIGNED + b"x")


@pytest.mark.parametrize("length", [0, 63, 65, 64 + len(SIGNED)])
def test_ed25519_signature_of_another_length(
    private_key: Ed25519PrivateKey, key: Ed25519Key, length: int
) -> None:
    """What is not 64 octets is no signature, even where its rest begins what was signed."""
    whole = private_key.sign(SIGNED) + SIGNED
    with pytest.raises(InvalidSignature):
        key.verify(whole[:length], SIGNED[max(length - 64, 0) :])


@pytest.mark.parametrize("length", [0, 31, 33])
def test_ed25519_key_of_another_length(length: int) -> None:
    """What is not 32 octets is no key."""
    with pytest.raises(ValueError, match="not an Ed25519 key"):
        Ed25519Key(bytes(length))


def test_ed25519_key_that_fits_anything() -> None:
    """With a key of small order one signature fits every message, for OpenSSL; here none does."""
    signature = IDENTITY + bytes(32)
    Ed25519PublicKey.from_public_bytes(IDENTITY).verify(signature, SIGNED)
    with pytest.raises(InvalidSignature):
        Ed25519Key(IDENTITY).verify(signature, SIGNED)
