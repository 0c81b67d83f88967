"""What a token endpoint may answer, and what is taken for no answer."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.encoding import base64url_encode
from sidecar.core.token_answer import (
    MAX_LIFETIME_SECONDS,
    MAX_TOKEN_BYTES,
    TokenAnswerError,
    read_error,
    read_token,
    safe_description,
)
from sidecar.core.token_request import ACCESS_TOKEN, JWT, TRANSACTION_TOKEN, TokenRequest

NOW = 1_700_000_000.0
EXCHANGE = TokenRequest("c", "exchange", audience=("orders",))
SERVICE = TokenRequest("c", "client_credentials")
BEARER = TokenRequest("c", "jwt_bearer")


def jwt(**claims: Any) -> str:
    """Return a JWT with *claims*; ``None`` leaves one out. Nobody signed it."""
    said = {"sub": "alice", "aud": "orders", "exp": NOW + 300, **claims}
    parts = ({"alg": "none"}, {k: v for k, v in said.items() if v is not None})
    return (
        ".".join(base64url_encode(json.dumps(part).encode()).decode() for part in parts) + ".c2ln"
    )


def answer(**members: Any) -> bytes:
    usual = {
        "access_token": jwt(),
        "token_type": "Bearer",
        "issued_token_type": ACCESS_TOKEN,
        "expires_in": 300,
    }
    return json.dumps({k: v for k, v in {**usual, **members}.items() if v is not None}).encode()


def read(content: bytes, request: TokenRequest = EXCHANGE, subject: str | None = "alice") -> Any:
    return read_token(content, request, subject=subject, asked_at=NOW)


def refusal(content: bytes, request: TokenRequest = EXCHANGE) -> TokenAnswerError:
    with pytest.raises(TokenAnswerError) as caught:
        read(content, request)
    assert str(caught.value).isprintable()
    return caught.value


def test_a_token_is_read() -> None:
    """Everything that is known of it is told, and the token itself is in no ``repr``."""
    token = jwt(act={"sub": "orders-service", "act": {"sub": "earlier"}})
    got = read(answer(access_token=token))
    assert (got.token, got.subject, got.actor) == (token.encode(), "alice", "orders-service")
    assert (got.issued_type, got.asked_at, got.expires_at) == (ACCESS_TOKEN, NOW, NOW + 300)
    assert token not in repr(got)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON (it is empty)"),
        (b"<html>", "login page"),
        (b"[]", "not a JSON object"),
        (b'{"a": 1, "a": 2}', "duplicate name"),
        (b'{"error": "invalid_grant"}', "no access_token"),
        (b'{"access_token": 1}', "no access_token"),
        (b'{"access_token": ""}', "no access_token"),
    ],
)
def test_what_is_no_answer(content: bytes, said: str) -> None:
    """Garbage, which says something of the endpoint and nothing of the question."""
    error = refusal(content)
    assert said in str(error)
    assert error.is_garbage


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"access_token": "x" * (MAX_TOKEN_BYTES + 1)}, "more than"),
        ({"access_token": "a b"}, "no header field"),
        ({"access_token": "a\r\nb"}, "no header field"),
        ({"access_token": "ä"}, "no header field"),
        ({"token_type": None}, "not a string"),
        ({"token_type": "DPoP"}, "DPoP, which is not Bearer"),
        ({"token_type": "N_A"}, "N_A, which is not Bearer"),
        ({"issued_token_type": None}, "no issued_token_type"),
        ({"issued_token_type": TRANSACTION_TOKEN}, "asked for was"),
        ({"issued_token_type": JWT, "access_token": "opaque"}, "no signed JWT"),
        ({"access_token": jwt(aud="billing")}, "aud of the token is billing, asked for was orders"),
        ({"access_token": jwt(aud=["a", 1])}, "is a, asked"),
        ({"access_token": jwt(aud=None)}, "is absent, asked"),
        ({"access_token": jwt(sub="mallory")}, "sub of the token is not that"),
        ({"access_token": jwt(sub=None)}, "sub of the token is not that"),
        ({"access_token": jwt(exp="soon")}, "exp of the token is not a time"),
        ({"access_token": jwt(exp=10**400)}, "exp of the token is not a time"),
        ({"access_token": jwt(exp=NOW)}, "expired already"),
        ({"access_token": jwt(exp=None), "expires_in": None}, "and the token no exp"),
        ({"access_token": jwt(exp=NOW * 1000), "expires_in": None}, "ten years"),
        ({"access_token": jwt(nbf=NOW + 61)}, "not valid yet"),
        ({"access_token": "opaque", "expires_in": None}, "no expires_in"),
        ({"expires_in": 0}, "expired already"),
        ({"expires_in": -1}, "expired already"),
        ({"expires_in": True}, "not a number of seconds"),
        ({"expires_in": "soon"}, "not a number of seconds"),
        ({"expires_in": 10**400}, "not a number of seconds"),
        ({"access_token": "opaque", "expires_in": MAX_LIFETIME_SECONDS + 1}, "ten years"),
        ({"access_token": jwt().replace(".", ".e", 1)}, "payload of the JWT is"),
    ],
)  # fmt: skip
def test_what_is_another_answer(members: dict[str, Any], said: str) -> None:
    """It is one of a token endpoint, but not to what was asked; of the token nothing is quoted."""
    error = refusal(answer(**members))
    assert said in str(error)
    assert not error.is_garbage
    token = members.get("access_token", "")
    assert len(token) < 30 or token[:30] not in str(error)


def test_the_earlier_end_counts() -> None:
    """``expires_in`` counts from the question; ``exp`` may be sooner."""
    assert read(answer(expires_in=60)).expires_at == NOW + 60
    assert read(answer(expires_in=600)).expires_at == NOW + 300
    assert read(answer(expires_in=None)).expires_at == NOW + 300
    assert read(answer(access_token=jwt(exp=None))).expires_at == NOW + 300
    assert read(answer(expires_in="60")).expires_at == NOW + 60


def test_an_opaque_token() -> None:
    """Only the answer can say when it ends, and nothing whose it is."""
    got = read(answer(access_token="opaque+/=", expires_in=7))
    assert (got.token, got.expires_at, got.subject, got.actor) == (b"opaque+/=", NOW + 7, "", "")
    assert read(answer(access_token="three.dots.here")).subject == ""


def test_which_type_is_issued() -> None:
    """What was asked for; where nothing was, what can be used as an access token."""
    for issued in (ACCESS_TOKEN, JWT):
        assert read(answer(issued_token_type=issued)).issued_type == issued
    asked = replace(EXCHANGE, requested_type=JWT)
    assert read(answer(issued_token_type=JWT), asked).issued_type == JWT
    assert "asked for was" in str(refusal(answer(), asked))
    txn = replace(EXCHANGE, requested_type=TRANSACTION_TOKEN)
    content = answer(issued_token_type=TRANSACTION_TOKEN, token_type="N_A")
    assert read(content, txn).issued_type == TRANSACTION_TOKEN


def test_who_may_be_the_audience() -> None:
    """One of what is accepted, which by default is what was asked for."""
    for aud in ("orders", ["a", "orders"]):
        assert read(answer(access_token=jwt(aud=aud)))
    named = replace(EXCHANGE, accepted_audiences=("https://orders.example", "o2"))
    assert read(answer(access_token=jwt(aud="o2")), named)
    assert "o2" in str(refusal(answer(), named))
    assert read(answer(access_token=jwt(aud="any")), replace(EXCHANGE, audience=()))


def test_whose_token_it_may_be() -> None:
    """The subject's; a service's own where it is asked for that, and anybody's by configuration."""
    other = answer(access_token=jwt(sub="service", aud=None))
    assert "sub of the token" in str(refusal(other, BEARER))
    assert read(other, replace(BEARER, subject_may_change=True)).subject == "service"
    assert read(other, SERVICE, subject=None).subject == "service"
    assert read(other, SERVICE).issued_type == ""


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "invalid_client", "misconfigured"),
        (400, "unauthorized_client", "misconfigured"),
        (400, "invalid_target", "misconfigured"),
        (400, "invalid_scope", "misconfigured"),
        (400, "unsupported_grant_type", "misconfigured"),
        (400, "invalid_grant", "refused"),
        (403, "access_denied", "refused"),
        (400, "interaction_required", "refused"),
        (400, "invalid_request", "refused"),
        (503, "temporarily_unavailable", "unavailable"),
        (500, "invalid_grant", "unavailable"),
    ],
)
def test_errors(status: int, code: str, kind: str) -> None:
    """Some are ours to mend, some the subject's, and some pass."""
    content = json.dumps({"error": code, "error_description": "No  such\nthing"}).encode()
    found = read_error(status, content, EXCHANGE)
    assert found is not None
    assert (found.kind, found.code, found.description) == (kind, code, "No such thing")


def test_an_invalid_request_of_our_own() -> None:
    """Only an exchange has a subject's token that this could be about."""
    found = read_error(400, b'{"error": "invalid_request"}', SERVICE)
    assert found is not None
    assert found.kind == "misconfigured"


def test_a_401_without_words() -> None:
    """It is about the client (RFC 6749, section 5.2), whoever wrote it."""
    found = read_error(401, b"<html>", EXCHANGE)
    assert found is not None
    assert (found.kind, found.code) == ("misconfigured", "invalid_client")


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b"{}", b'{"error": 1}', b'{"error": "eyJhbGciOi"}']
)
def test_errors_that_are_none(content: bytes) -> None:
    """What is not in a list of codes is not repeated."""
    assert read_error(400, content, EXCHANGE) is None


def test_a_description_holds_no_token() -> None:
    """Words pass; what is longer than a word, and what could break a line, does not."""
    token = jwt()
    said = safe_description(f'Invalid subject_token: {token} for\tclient\r\n\x1b[31m "é"')
    assert said == "Invalid subject_token: ... for client ?[31m '?'"
    assert len(safe_description("word " * 1000)) < 170
    assert safe_description("wrong secret hünter2", ["hünter2"]) == ""
    assert safe_description("wrong secret", ["", "hünter2"]) == "wrong secret"
    assert safe_description(None) == safe_description(7) == ""
