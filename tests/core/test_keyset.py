"""From a JWKS document to keys, and the choice among them (RFC 7517)."""

import json
from typing import Any

import pytest

from sidecar.core.jose import ALGORITHMS, Compact, parse_compact
from sidecar.core.keyset import (
    MAX_CANDIDATES,
    MAX_DOCUMENT_BYTES,
    MAX_KEYS,
    KeySetError,
    VerificationKey,
    parse_jwks,
)
from tests.core.signing import b64, jwk, jwks, private_key, short_rsa_key, sign

RSA = jwk(private_key("RS256"), kid="a")
EC = jwk(private_key("ES256"), kid="e")
ED = jwk(private_key("EdDSA"), kid="d")


def checks(key: VerificationKey, alg: str, token: bytes) -> bool:
    parsed = parse_compact(token)
    assert isinstance(parsed, Compact)
    return key.verify(alg, parsed.signing_input, parsed.signature)


@pytest.mark.parametrize(
    ("alg", "name"), [*((alg, alg) for alg in sorted(ALGORITHMS)), ("Ed448", "EdDSA")]
)
def test_every_algorithm_checks_its_own_signatures(alg: str, name: str) -> None:
    """A signature by the key is good, by another key is not, and one flipped bit spoils it."""
    [key] = parse_jwks(jwks(jwk(private_key(alg)))).select(None, name)
    header = {"alg": name}
    assert checks(key, name, sign(b"{}", alg=alg, header=header))
    other = sign(b"{}", alg=alg, key=private_key(alg, "other"), header=header)
    assert not checks(key, name, other)
    parsed = parse_compact(sign(b"{}", alg=alg, header=header))
    assert isinstance(parsed, Compact)
    spoiled = bytes((parsed.signature[0] ^ 1,)) + parsed.signature[1:]
    assert not key.verify(name, parsed.signing_input, spoiled)


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_signatures_of_the_wrong_length_are_refused(alg: str) -> None:
    """A signature one octet short or long, empty, or all zero is refused without error."""
    [key] = parse_jwks(jwks(jwk(private_key(alg)))).select(None, alg)
    parsed = parse_compact(sign(b"{}", alg=alg))
    assert isinstance(parsed, Compact)
    good = parsed.signature
    for bad in (b"", good[:-1], good[1:], good + b"\0", b"\0" + good, bytes(len(good))):
        assert not key.verify(alg, parsed.signing_input, bad)


def test_der_encoded_ecdsa_signatures_are_refused() -> None:
    """ECDSA signatures are two raw numbers (RFC 7518, section 3.4), never ASN.1."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    [key] = parse_jwks(jwks(EC)).keys
    assert not key.verify("ES256", b"x", private_key("ES256").sign(b"x", ec.ECDSA(hashes.SHA256())))


@pytest.mark.parametrize(("curve", "other"), [("Ed25519", "Ed448"), ("Ed448", "Ed25519")])
def test_the_names_of_rfc_9864_are_bound_to_their_curve(curve: str, other: str) -> None:
    """EdDSA is that of the key's curve; Ed25519 and Ed448 are one curve's each."""
    key = jwk(private_key(curve), kid="k")
    keys = parse_jwks(jwks(key))
    assert keys.select("k", curve)
    assert keys.select("k", "EdDSA")
    assert not keys.select("k", other)
    named = parse_jwks(jwks({**key, "alg": curve}))
    assert named.select("k", curve)
    assert not named.select("k", "EdDSA")
    with pytest.raises(KeySetError):
        parse_jwks(jwks({**key, "alg": other}))


def test_a_spiffe_bundle_gives_the_keys_of_jwt_svids_alone() -> None:
    """Only entries of that use with a kid are taken, and by nobody else (JWT-SVID, section 6)."""
    svid = {**EC, "kid": "svid", "use": "jwt-svid"}
    nameless = {name: value for name, value in svid.items() if name != "kid"}
    x509 = {**RSA, "use": "x509-svid"}
    without_use = {**ED, "kid": "none"}
    document = jwks(x509, svid, nameless, {**RSA, "use": "sig"}, without_use)
    keys = parse_jwks(document, "jwt-svid")
    assert keys.kids == {"svid"}
    assert (len(keys), keys.skipped) == (1, 4)
    assert "svid" not in parse_jwks(document).kids
    with pytest.raises(KeySetError):
        parse_jwks(jwks(x509, without_use), "jwt-svid")


def test_a_key_is_used_only_for_what_its_type_and_alg_permit() -> None:
    """The token's alg must fit the key's type, curve and own alg (RFC 8725, section 3.1)."""
    keys = parse_jwks(jwks(RSA, EC, ED, jwk(private_key("RS256"), kid="p", alg="PS256")))
    assert keys.select("a", "RS512")
    assert keys.select("a", "PS256")
    assert not keys.select("a", "ES256")
    assert keys.select("e", "ES256")
    assert not keys.select("e", "ES384")
    assert keys.select("d", "EdDSA")
    assert keys.select("p", "PS256")
    assert not keys.select("p", "RS256")
    [limited] = keys.select("p", "PS256")
    assert not checks(limited, "RS256", sign(b"{}"))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        7,
        "key",
        [],
        {},
        {"kty": "oct", "k": "AAAA", "alg": "HS256"},
        {"kty": "unheard-of"},
        {"kty": ["RSA"]},
        {**RSA, "use": "enc"},
        {**RSA, "use": None},
        {**RSA, "use": ["sig"]},
        {**RSA, "key_ops": ["sign"]},
        {**RSA, "key_ops": "verify"},
        {**RSA, "key_ops": None},
        {**RSA, "alg": "HS256"},
        {**RSA, "alg": "ES256"},
        {**RSA, "alg": "RS999"},
        {**RSA, "alg": ["RS256"]},
        {**RSA, "alg": None},
        {**RSA, "kid": 7},
        {**RSA, "kid": "k" * 2000},
        {**RSA, "d": "AAAA"},
        {**EC, "d": "AAAA"},
        {**ED, "d": "AAAA"},
        {**RSA, "n": RSA["n"] + "="},
        {**RSA, "n": 65537},
        {**RSA, "n": ""},
        {**RSA, "n": "\u00e9"},
        {**RSA, "e": b64(b"\1")},
        {**RSA, "e": b64(b"\4")},
        {**RSA, "e": b64(b"\1" * 9)},
        {**RSA, "e": None},
        {**RSA, "n": b64(b"\xff" * 1025)},
        jwk(short_rsa_key()),
        {**EC, "crv": "P-384"},
        {**EC, "crv": "secp256k1"},
        {**EC, "crv": None},
        {**EC, "x": EC["y"], "y": EC["x"]},
        {**EC, "x": b64(b"\0" + b"\1" * 32)},
        {**EC, "x": b64(bytes(32)), "y": b64(bytes(32))},
        {**ED, "crv": "X25519"},
        {**ED, "x": b64(b"\1" * 31)},
        {"kty": "OKP", "crv": "Ed448", "x": b64(b"\1" * 32)},
    ],
)
def test_an_unusable_key_is_skipped_and_counted(entry: Any) -> None:
    """A key we cannot or must not use leaves the others usable; alone it is an error."""
    good = jwk(private_key("RS256", "good"), kid="good")
    keys = parse_jwks(jwks(entry, good))
    assert keys.kids == {"good"}
    assert (len(keys), keys.skipped) == (1, 1)
    with pytest.raises(KeySetError, match="no usable key"):
        parse_jwks(jwks(entry))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no array named keys"),
        (b'{"keys":{}}', "no array named keys"),
        (b'{"keys":null}', "no array named keys"),
        (b'{"keys":[]}', "no usable key"),
        (b'{"keys":[],"keys":[]}', "duplicate"),
        (b'{"keys":[{"kty":"RSA","kty":"EC"}]}', "duplicate"),
        (b'{"keys":' + b"[" * 1000 + b"]" * 1000 + b"}", "nested deeper"),
        (b" " * (MAX_DOCUMENT_BYTES + 1), "larger than"),
        (jwks(*([{}] * (MAX_KEYS + 1))), "more than"),
    ],
)
def test_a_document_that_is_no_key_set_is_an_error(document: bytes, message: str) -> None:
    """What is not a JWK Set, or is too large, raises with one clear sentence."""
    with pytest.raises(KeySetError, match=message):
        parse_jwks(document)


def test_a_key_set_of_the_largest_size_is_read() -> None:
    """Exactly the permitted number of bytes and of keys is accepted."""
    document = jwks(RSA, *([{}] * (MAX_KEYS - 1)))
    padded = document + b" " * (MAX_DOCUMENT_BYTES - len(document))
    assert len(parse_jwks(padded)) == 1


def test_leading_zeros_do_not_make_another_key() -> None:
    """A modulus published with a leading zero octet is the same key."""
    from sidecar.core.encoding import base64url_decode

    padded = {**RSA, "n": b64(b"\0" + base64url_decode(RSA["n"].encode()))}
    assert parse_jwks(jwks(padded)) == parse_jwks(jwks(RSA))


def test_selection_by_name() -> None:
    """A kid selects the keys of that name and no others, even when they do not fit."""
    second = jwk(private_key("RS256", "b"), kid="b")
    keys = parse_jwks(jwks(RSA, second, jwk(private_key("RS256", "c"))))
    assert [key.kid for key in keys.select("b", "RS256")] == ["b"]
    assert keys.select("b", "ES256") == ()


def test_a_kid_that_no_key_has_selects_the_nameless_keys() -> None:
    """Some issuers name the key in the token but not in the set."""
    nameless = jwk(private_key("RS256", "b"))
    assert [key.kid for key in parse_jwks(jwks(RSA, nameless)).select("zz", "RS256")] == [None]
    assert parse_jwks(jwks(RSA)).select("zz", "RS256") == ()


def test_two_keys_under_one_kid_are_both_candidates() -> None:
    """Different keys that share a name are tried in turn; the same key twice is one."""
    twin = jwk(private_key("RS256", "b"), kid="a")
    keys = parse_jwks(jwks(RSA, twin, RSA))
    assert len(keys) == 2
    assert keys.select("a", "RS256") == keys.keys


@pytest.mark.parametrize("kid", [None, "same"])
def test_at_most_four_keys_are_tried(kid: str | None) -> None:
    """However many keys fit, the candidates are few and in the order published."""
    published = [jwk(private_key("ES256", f"many{i}"), kid="same") for i in range(6)]
    keys = parse_jwks(jwks(*published))
    assert keys.select(kid, "ES256") == keys.keys[:MAX_CANDIDATES]


def test_equality_is_by_name_permission_and_material() -> None:
    """Refetching the same set changes nothing; a new name, alg or key does."""
    same = parse_jwks(json.dumps({"keys": [RSA], "more": 1}, indent=2).encode())
    keys = parse_jwks(jwks(RSA))
    assert keys == same
    assert hash(keys) == hash(same)
    assert keys != parse_jwks(jwks({**RSA, "kid": "b"}))
    assert keys != parse_jwks(jwks({**RSA, "alg": "RS256"}))
    assert keys != parse_jwks(jwks(jwk(private_key("RS256", "b"), kid="a")))
    assert keys != parse_jwks(jwks(RSA, EC))
    assert keys != "keys"


def test_the_repr_of_a_key_set_is_a_summary() -> None:
    """A key set in a log line is its size, not its content."""
    assert repr(parse_jwks(jwks(RSA, {}))) == "KeySet(1 keys, 1 skipped)"


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_a_key_whose_private_half_is_published_is_void_in_every_entry(alg: str) -> None:
    """Also where its public half stands alone; the error says which keys nobody may trust."""
    public, other = jwk(private_key(alg), kid="a"), jwk(private_key(alg, "other"), kid="o")
    exposed = {**public, "kid": "b", "d": "AQAB"}
    keys = parse_jwks(jwks(public, exposed, other))
    assert [key.kid for key in keys.keys] == ["o"]
    assert keys.skipped == 2
    with pytest.raises(KeySetError) as caught:
        parse_jwks(jwks(public, exposed))
    assert caught.value.exposed == {parse_jwks(jwks(public)).keys[0].fingerprint}
