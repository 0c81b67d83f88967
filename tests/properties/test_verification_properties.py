"""Whatever is sent gives a value, and only what was signed is believed."""

import json
from functools import cache

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.core.bearer import read_bearer
from sidecar.core.keyset import KeySet, KeySetError, parse_jwks
from sidecar.core.outcome import Denial
from sidecar.core.verification import IssuerPolicy, KeyNeeded, Rejected, Verified, Verifier
from tests.core.signing import ISSUER, NOW, b64, claims, key_set, sign

quick = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=4,
)
CLAIM_NAMES = st.sampled_from(
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "typ", "scope", "scp", "roles",
     "realm_access", "client_id", "events", "nonce"]
)  # fmt: skip
HEADER_NAMES = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c", "cty"])


def verifier(*, keys: bool = True) -> Verifier:
    made = Verifier(
        [IssuerPolicy("shop", ISSUER, frozenset({"orders"}), profile="keycloak")],
        render=lambda principal: principal.subject.encode(),
        max_token_bytes=4096,
        cache_max_entries=4,
        cache_max_bytes=64 * 1024,
    )
    if keys:
        made.install("shop", key_set())
    return made


@cache
def good_token() -> bytes:
    return sign(claims())


@quick
@given(st.lists(st.binary(max_size=64) | st.binary(max_size=32).map(lambda b: b"Bearer " + b)))
def test_any_authorization_gives_a_value(values: list[bytes]) -> None:
    """Any bytes in any number of Authorization fields give a token, a denial or nothing."""
    result = read_bearer(values)
    assert result is None or isinstance(result, bytes | Denial)
    assert not isinstance(result, bytes) or result in values[0]


@quick
@given(st.binary(max_size=300))
def test_any_bytes_as_token_give_a_verdict(token: bytes) -> None:
    """Any bytes as token are rejected without an exception."""
    assert isinstance(verifier().verify(token, now=NOW), Rejected)


@quick
@given(st.lists(st.binary(max_size=60), min_size=3, max_size=3))
def test_any_three_parts_give_a_verdict(parts: list[bytes]) -> None:
    """Any three well-encoded parts are rejected without an exception."""
    token = ".".join(b64(part) for part in parts).encode()
    assert isinstance(verifier().verify(token, now=NOW), Rejected)


@quick
@given(
    st.dictionaries(HEADER_NAMES, JSON, max_size=3), st.dictionaries(CLAIM_NAMES, JSON, max_size=3)
)
def test_any_json_in_an_unsigned_token_gives_a_verdict(
    header: dict[str, object], said: dict[str, object]
) -> None:
    """Any types in header and claims give a refusal or ask for a key; nothing is believed."""
    protected = json.dumps({"alg": "RS256", "kid": "a", **header}).encode()
    payload = json.dumps({**claims(), **said}).encode()
    token = f"{b64(protected)}.{b64(payload)}.AAAA"
    for made in (verifier(), verifier(keys=False)):
        assert isinstance(made.verify(token.encode(), now=NOW), Rejected | KeyNeeded)


@settings(parent=quick, max_examples=60)
@given(st.dictionaries(CLAIM_NAMES, JSON, min_size=1, max_size=4))
def test_any_json_in_a_signed_token_gives_a_verdict(said: dict[str, object]) -> None:
    """Even the issuer cannot make us raise, whatever types its claims have."""
    verdict = verifier().verify(sign({**claims(), **said}), now=NOW)
    if isinstance(verdict, Verified):
        principal = verdict.credential.principal
        assert principal.subject == {**claims(), **said}["sub"]


@quick
@given(st.data())
def test_any_changed_character_is_refused(data: st.DataObject) -> None:
    """A valid token with any one character changed, added or removed is not believed."""
    token = good_token()
    made = verifier()
    assert isinstance(made.verify(token, now=NOW), Verified)
    at = data.draw(st.integers(0, len(token) - 1))
    octet = bytes((data.draw(st.integers(0, 255)),))
    tail = data.draw(st.sampled_from([token[at:], token[at + 1 :]]))
    changed = token[:at] + data.draw(st.sampled_from([octet, b""])) + tail
    if changed != token:
        assert not isinstance(made.verify(changed, now=NOW), Verified)


def test_every_change_of_the_last_character_of_each_part_is_refused() -> None:
    """The characters whose bits are partly unused have no second spelling."""
    token = good_token()
    made = verifier()
    for at in (token.index(b".") - 1, token.rindex(b".") - 1, len(token) - 1):
        for octet in range(256):
            changed = token[:at] + bytes((octet,)) + token[at + 1 :]
            assert isinstance(made.verify(changed, now=NOW), Verified) is (changed == token)


@quick
@given(st.binary(max_size=200) | JSON.map(lambda v: json.dumps({"keys": [v]}).encode()))
def test_any_bytes_as_key_set_give_keys_or_the_error(document: bytes) -> None:
    """Any document gives a key set or KeySetError and nothing else."""
    try:
        keys = parse_jwks(document)
    except KeySetError:
        return
    assert isinstance(keys, KeySet)
    assert len(keys) > 0
