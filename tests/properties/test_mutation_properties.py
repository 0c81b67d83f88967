"""A good token changed in any way is refused, for every algorithm and every family of issuers.

One change is out of reach and not tried: an ECDSA signature (r, s) has the twin (r, n - s), which
whoever signs may make just as well (FIPS 186-5). It speaks for the same claims.
"""

import json
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.core.encoding import base64url_decode
from sidecar.core.jose import ALGORITHMS
from sidecar.core.outcome import Denial
from sidecar.core.verification import IssuerPolicy, KeyNeeded, Rejected, Verified, Verifier
from tests.core.families import EXAMPLES, verifier_for
from tests.core.signing import ISSUER, NOW, b64, claims, key_set, sign

thorough = settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@cache
def of_algorithm(alg: str) -> tuple[Verifier, bytes]:
    """Return a verifier, and a good token under *alg*."""
    verifier = Verifier(
        [IssuerPolicy("shop", ISSUER, frozenset({"orders"}))],
        render=lambda _: b"",
        max_token_bytes=4096,
        cache_max_entries=1,
        cache_max_bytes=64 * 1024,
    )
    verifier.install("shop", key_set(alg))
    return verifier, sign(claims(), alg=alg)


@cache
def of_family(name: str) -> tuple[Verifier, bytes]:
    """Return a verifier, and the family's good token."""
    profile, header, said = EXAMPLES[name]
    return verifier_for(profile), sign(said, header=header)


@st.composite
def mutants(draw: st.DrawFn, token: bytes) -> bytes:
    """A token that is *token* but for one change."""
    at = draw(st.integers(0, len(token) - 1))
    parts = token.split(b".")
    match draw(st.sampled_from(
        ["bit", "octet", "insert", "insert as is", "delete", "cut", "case", "padding", "swap parts",
         "swap neighbours", "repeat a part", "drop a part", "empty a part", "append"]
    )):  # fmt: skip
        case "bit":
            return token[:at] + bytes((token[at] ^ 1 << draw(st.integers(0, 7)),)) + token[at + 1 :]
        case "octet":
            return token[:at] + bytes((draw(st.sampled_from(ALPHABET)),)) + token[at + 1 :]
        case "insert":
            return token[:at] + draw(st.binary(min_size=1, max_size=4)) + token[at:]
        case "insert as is":
            more = draw(st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=4))
            return token[:at] + bytes(more) + token[at:]
        case "delete":
            return token[:at] + token[at + draw(st.integers(1, 4)) :]
        case "cut":
            return token[:at]
        case "case":
            return token[:at] + token[at : at + 1].swapcase() + token[at + 1 :]
        case "padding":
            index = draw(st.integers(0, 2))
            parts[index] += b"=" * draw(st.integers(1, 3))
        case "swap parts":
            parts = draw(st.permutations(parts))
        case "swap neighbours":
            return token[:at] + token[at : at + 2][::-1] + token[at + 2 :]
        case "repeat a part":
            parts.insert(draw(st.integers(0, 3)), parts[draw(st.integers(0, 2))])
        case "drop a part":
            del parts[draw(st.integers(0, 2))]
        case "empty a part":
            parts[draw(st.integers(0, 2))] = b""
        case "append":
            return token + draw(st.binary(min_size=1, max_size=8))
    return b".".join(parts)


@st.composite
def rewritten(draw: st.DrawFn, token: bytes) -> bytes:
    """A token whose header or claims are written otherwise and mean the same."""
    parts = token.split(b".")
    index = draw(st.integers(0, 1))
    said = json.loads(base64url_decode(parts[index]))
    names = draw(st.permutations(list(said)))
    text = json.dumps(
        {name: said[name] for name in names},
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :")])),
    )
    if draw(st.booleans()):
        text = text.replace("a", "\\u0061", 1)
    text = draw(st.sampled_from(["", " ", "\n"])) + text + draw(st.sampled_from(["", " ", "\t"]))
    parts[index] = b64(text.encode()).encode()
    return b".".join(parts)


def assert_refused(verifier: Verifier, changed: bytes, token: bytes) -> None:
    verdict = verifier.verify(changed, now=NOW)
    if changed == token:
        assert isinstance(verdict, Verified)
    else:
        assert isinstance(verdict, Rejected | KeyNeeded)
        assert not isinstance(verdict, Rejected) or isinstance(verdict.denial, Denial)


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
@thorough
@given(data=st.data())
def test_a_changed_token_is_refused_whatever_signed_it(alg: str, data: st.DataObject) -> None:
    """No flipped bit, moved part, other spelling or added octet leaves a token good."""
    verifier, token = of_algorithm(alg)
    assert_refused(verifier, token, token)
    assert_refused(verifier, data.draw(mutants(token)), token)
    assert_refused(verifier, data.draw(rewritten(token)), token)


@pytest.mark.parametrize("name", EXAMPLES)
@thorough
@given(data=st.data())
def test_a_changed_token_is_refused_whoever_issued_it(name: str, data: st.DataObject) -> None:
    """The same for every family of issuers, whose tokens have other types and claims."""
    verifier, token = of_family(name)
    assert_refused(verifier, token, token)
    assert_refused(verifier, data.draw(mutants(token)), token)
    assert_refused(verifier, data.draw(rewritten(token)), token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=4,
)


@pytest.mark.parametrize("name", EXAMPLES)
@settings(parent=thorough, max_examples=40)
@given(data=st.data())
def test_any_claims_of_a_family_give_a_verdict(name: str, data: st.DataObject) -> None:
    """Whatever the issuer puts in place of its usual claims, the answer is a value."""
    profile, header, said = EXAMPLES[name]
    wrong = data.draw(st.dictionaries(st.sampled_from(sorted(said)), JSON, min_size=1, max_size=3))
    verdict = verifier_for(profile).verify(sign({**said, **wrong}, header=header), now=NOW)
    assert isinstance(verdict, Verified | Rejected | KeyNeeded)


@pytest.mark.parametrize("name", EXAMPLES)
@settings(parent=thorough, max_examples=40)
@given(token=st.binary(max_size=200) | st.lists(st.binary(max_size=60), max_size=6).map(b".".join))
def test_any_bytes_give_a_verdict_under_every_profile(name: str, token: bytes) -> None:
    """Any bytes as token are rejected with a reason, never an exception."""
    assert isinstance(of_family(name)[0].verify(token, now=NOW), Rejected)
