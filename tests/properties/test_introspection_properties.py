"""Whatever an issuer answers about whatever token gives a value."""

import json

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.claims import Introspected, IssuerPolicy
from sidecar.core.introspection import AnswerError, is_opaque, read_answer
from sidecar.core.verification import IntrospectionNeeded, Rejected, Verified, Verifier
from tests.core.signing import ISSUER, NOW, claims
from tests.properties.test_verification_properties import CLAIM_NAMES, JSON, quick

NAMES = CLAIM_NAMES | st.sampled_from(["active", "token_type", "token_use", "username", "cnf"])


def verifier() -> Verifier:
    return Verifier(
        [
            IssuerPolicy(
                "shop",
                ISSUER,
                frozenset({"orders"}),
                profile="keycloak",
                introspection=Introspected(opaque=True, jwt=True, positive_seconds=60.0),
            )
        ],
        render=lambda principal: principal.subject.encode(),
        max_token_bytes=4096,
        cache_max_entries=4,
        cache_max_bytes=64 * 1024,
    )


@quick
@given(st.binary(max_size=200))
def test_any_bytes_as_token_give_a_verdict(token: bytes) -> None:
    """Any bytes are refused or asked about, and only b64tokens are."""
    verdict = verifier().verify(token, now=NOW)
    if isinstance(verdict, IntrospectionNeeded):
        assert is_opaque(token)
        assert token.isascii()
        assert token.count(b".") not in (2, 4)
    else:
        assert isinstance(verdict, Rejected)


@quick
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_answer_give_an_answer_or_the_error(content: bytes) -> None:
    """Nothing else is raised, and no token becomes good of it."""
    try:
        answer = read_answer(content)
    except AnswerError:
        return
    assert isinstance(verifier().introspected(b"t", answer, asked_at=NOW, now=NOW), Rejected)


@quick
@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_any_json_in_an_answer_gives_a_verdict(said: dict[str, object]) -> None:
    """Whatever types the members have; who is believed has the audience and is active."""
    content = json.dumps({"active": True, **claims(), **said}).encode()
    try:
        answer = read_answer(content)
    except AnswerError:
        return
    verdict = verifier().introspected(b"t", answer, asked_at=NOW, now=NOW)
    if isinstance(verdict, Verified):
        assert answer.members["active"] is True
        assert "orders" in str(answer.members["aud"])
        assert verdict.credential.principal.subject == answer.members["sub"]
    else:
        assert isinstance(verdict, Rejected)
