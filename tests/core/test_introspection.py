"""Which tokens are opaque, what an answer means, and how long a yes stands."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.core.claims import Introspected, IssuerPolicy
from sidecar.core.introspection import Answer, AnswerError, is_opaque, read_answer
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Principal
from sidecar.core.profiles import ProfileName
from sidecar.core.verification import IntrospectionNeeded, Rejected, Verdict, Verified, Verifier
from tests.core.signing import ISSUER, NOW, b64, claims, key_set, sign

OPAQUE = Introspected(opaque=True, jwt=False, positive_seconds=60.0)
BOTH = Introspected(opaque=True, jwt=True, positive_seconds=60.0)


def subject(principal: Principal) -> bytes:
    return principal.subject.encode()


def verifier(
    introspection: Introspected | None = OPAQUE,
    render: Callable[[Principal], bytes | Denial] = subject,
    **changes: Any,
) -> Verifier:
    usual: dict[str, Any] = {"audiences": frozenset({"orders"}), "introspection": introspection}
    made = Verifier(
        [IssuerPolicy("shop", ISSUER, **{**usual, **changes})],
        render=render,
        max_token_bytes=4096,
        cache_max_entries=100,
        cache_max_bytes=64 * 1024,
    )
    made.install("shop", key_set())
    return made


def said(**members: object) -> Answer:
    return read_answer(json.dumps({"active": True, **claims(), **members}).encode())


def judge(
    answer: Answer, made: Verifier | None = None, token: bytes = b"opaque", now: float = NOW
) -> Verdict:
    return (made or verifier()).introspected(token, answer, asked_at=now, now=now)


def code(verdict: Verdict) -> str:
    if isinstance(verdict, Verified):
        return verdict.credential.principal.subject
    assert isinstance(verdict, Rejected)
    assert verdict.denial.detail.isascii()
    assert len(verdict.denial.detail) <= 200
    return verdict.denial.reason.code


@pytest.mark.parametrize(
    "token",
    [
        b"opaque", b"a", b"ory_at_abc.def", b"a.b.c.d", b"a.b.c.d.e.f", b"a~b+c/d-e_f==", b"x.",
        b"2YotnFZFEjr1zCsicMWpAA", b64(b'{"id": 7}').encode(), b64(b"[1]").encode(),
    ],
)  # fmt: skip
def test_opaque(token: bytes) -> None:
    """What no reader of JWTs would touch."""
    assert is_opaque(token)


@pytest.mark.parametrize(
    "token",
    [
        b"", b"=", b"=a", b"a=b", b"a b", b"a\n", b"\xff", b"a,b", b'"a"', b"..", b"a.b.c",
        b"a.b.c=", b"a.b.c.d.e", b"sdc1" + b"0" * 28, sign({}).rpartition(b".")[0],
        sign({}).partition(b".")[0], sign({}).partition(b".")[0] + b".a.b.c",
        b64(b'{"enc":"A128GCM"}').encode(),
    ],
)  # fmt: skip
def test_not_opaque(token: bytes) -> None:
    """What is no b64token, has the parts of a JWT or starts like one, and handles of ours."""
    assert not is_opaque(token)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"null", b"[]", b'{"active":null}', b'{"active":1}', b'{"active":"true"}',
     b'{"active":true,"active":true}', b'{"active":true,"x":NaN}', b'{"active":true', b"\xff{}",
     b'{"active":true,"x":' + b"[" * 40 + b"]" * 40 + b"}"],
)  # fmt: skip
def test_an_answer_that_is_none(content: bytes) -> None:
    """``active`` is a JSON boolean, once, in a sound JSON object."""
    with pytest.raises(AnswerError):
        read_answer(content)


def test_null_is_absent_and_nothing_is_shown() -> None:
    """Some issuers write every member; no ``repr`` shows what is said of somebody."""
    answer = read_answer(b'{"active": true, "sub": null, "email": "alice@example.test"}')
    assert answer.members == {"active": True, "email": "alice@example.test"}
    assert "alice" not in repr(answer)


def test_a_yes_makes_a_credential_like_any_other() -> None:
    """Principal, digest and dates are there; the token is kept as it came."""
    made = verifier()
    assert made.verify(b"opaque", now=NOW) == IntrospectionNeeded("shop", vouched=False)
    verdict = judge(said(scope="a b", roles=["R"], nbf=NOW - 5), made)
    assert isinstance(verdict, Verified)
    credential = verdict.credential
    assert (credential.token, credential.expires_at) == (b"opaque", NOW + 300)
    assert credential.not_before == NOW - 5
    assert credential.principal.issuer_name == "shop"
    assert credential.principal.scopes == {"a", "b"}
    assert credential.principal.roles == {"R"}
    assert made.verify(b"opaque", now=NOW) is verdict


def test_a_no_ends_a_yes() -> None:
    """What the issuer said last counts."""
    made = verifier()
    assert code(judge(said(), made)) == "alice"
    assert code(judge(read_answer(b'{"active": false}'), made)) == "token_inactive"
    assert isinstance(made.verify(b"opaque", now=NOW), IntrospectionNeeded)


def test_members_of_an_inactive_answer_are_not_read() -> None:
    """Not even for a better reason."""
    assert code(judge(said(active=False, aud="other"))) == "token_inactive"


@pytest.mark.parametrize(("age", "stands"), [(0.0, True), (59.9, True), (60.0, False)])
def test_a_yes_stands_from_the_question_for_the_positive_time(age: float, stands: bool) -> None:
    """Just before its end and at it."""
    made = verifier()
    made.introspected(b"opaque", said(), asked_at=NOW, now=NOW)
    assert isinstance(made.verify(b"opaque", now=NOW + age), Verified) is stands


def test_a_slow_answer_stands_for_less() -> None:
    """The time is counted from the question, because the answer may be as old."""
    made = verifier()
    made.introspected(b"opaque", said(), asked_at=NOW - 59, now=NOW)
    assert isinstance(made.verify(b"opaque", now=NOW + 0.9), Verified)
    assert isinstance(made.verify(b"opaque", now=NOW + 1), IntrospectionNeeded)


@pytest.mark.parametrize(("left", "expected"), [(-1, "token_expired"), (0, "token_expired"),
                                                (1, "alice")])  # fmt: skip
def test_exp_has_no_leeway(left: int, expected: str) -> None:
    """Just before, exactly at and just after."""
    assert code(judge(said(exp=NOW + left))) == expected


def test_a_yes_without_exp_where_that_is_allowed() -> None:
    """``require_exp: false``: it stands for the positive time and no longer."""
    answer = said()
    del answer.members["exp"]
    assert code(judge(answer)) == "claim_missing"
    made = verifier(require_exp=False)
    assert code(judge(answer, made)) == "alice"
    assert isinstance(made.verify(b"opaque", now=NOW + 59), Verified)
    assert isinstance(made.verify(b"opaque", now=NOW + 60), IntrospectionNeeded)


def test_any_audience() -> None:
    """``audiences: any`` takes an answer without ``aud``, which issuers often leave out."""
    answer = said()
    del answer.members["aud"]
    verdict = judge(answer)
    assert code(verdict) == "audience_mismatch"
    assert isinstance(verdict, Rejected)
    assert "the issuer's answer has no aud" in verdict.denial.detail
    assert code(judge(answer, verifier(audiences=None))) == "alice"


def test_a_client_id_is_no_subject() -> None:
    """A client that may choose its id could choose that of a user (RFC 9068, section 5)."""
    answer = said(client_id="alice")
    del answer.members["sub"]
    assert code(judge(answer)) == "claim_missing"


@pytest.mark.parametrize("profile", ["generic", "rfc9068", "keycloak"])
def test_an_answer_is_judged_by_the_profile(profile: ProfileName) -> None:
    """The answer has no header whose type could be wrong; what it says of its kind counts."""
    made = verifier(profile=profile)
    complete = {"client_id": "c", "jti": "j"}
    assert code(judge(said(**complete), made)) == "alice"
    assert code(judge(said(**complete, typ="Refresh"), made)) == "token_type"


def test_new_keys_do_not_touch_opaque_tokens() -> None:
    """No key vouched for them."""
    made = verifier()
    judge(said(), made)
    made.install("shop", key_set("ES256", "RS256"))
    assert isinstance(made.verify(b"opaque", now=NOW), Verified)


def test_answers_count_as_memory() -> None:
    """A short token with a long answer fills the cache like a long token."""
    made = verifier()
    for number in range(10):
        judge(said(note="x" * 10_000), made, b"token-%d" % number)
    kept = sum(made.recall(b"token-%d" % n, now=NOW) is not None for n in range(10))
    assert kept == 1


def test_a_jwt_of_such_an_issuer_waits_for_its_word() -> None:
    """Good by itself, then a yes, then known; bad by itself is never asked about."""
    made = verifier(BOTH)
    token = sign(claims())
    assert made.verify(token, now=NOW) == IntrospectionNeeded("shop", vouched=True)
    assert code(made.introspected(token, said(), asked_at=NOW, now=NOW)) == "alice"
    assert isinstance(made.verify(token, now=NOW + 59), Verified)
    assert isinstance(made.verify(token, now=NOW + 60), IntrospectionNeeded)
    assert code(made.verify(sign(claims(exp=NOW - 60)), now=NOW)) == "token_expired"


def test_a_yes_does_not_mend_a_jwt() -> None:
    """What became bad while its issuer was asked is refused."""
    made = verifier(BOTH)
    token = sign(claims())
    late = NOW + 400
    assert code(made.introspected(token, said(), asked_at=NOW, now=late)) == "token_expired"
    assert code(judge(said(sub="bob"), made, token)) == Reason.CLAIMS_MALFORMED.code
    assert code(judge(said(iss="https://other.test"), made, token)) == "issuer_mismatch"
    assert code(judge(said(active=False), made, token)) == "token_inactive"


def test_two_issuers_cannot_both_be_asked_about_opaque_tokens() -> None:
    """The token would not say whom to ask."""
    policies = [
        IssuerPolicy(name, f"https://{name}.test", None, introspection=BOTH) for name in ("a", "b")
    ]
    with pytest.raises(ValueError, match="two issuers introspect"):
        Verifier(
            policies,
            render=lambda _principal: b"",
            max_token_bytes=1,
            cache_max_entries=1,
            cache_max_bytes=1,
        )
