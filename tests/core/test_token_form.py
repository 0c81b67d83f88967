"""The form of each grant, as its RFC writes it down."""

from dataclasses import replace

import pytest

from sidecar.core.token_form import RESERVED, token_form
from sidecar.core.token_request import JWT, TRANSACTION_TOKEN, Actor, TokenRequest

EXCHANGE = TokenRequest("c", "exchange")


def test_client_credentials() -> None:
    """RFC 6749, section 4.4.2: nobody's token is in it, whatever is held."""
    request = TokenRequest("c", "client_credentials", scopes=("a", "b"), audience=("api",))
    assert token_form(request, subject_token="t") == [
        ("grant_type", "client_credentials"),
        ("audience", "api"),
        ("scope", "a b"),
    ]


def test_exchange() -> None:
    """RFC 8693, section 2.1: audience and resource repeat, scopes are one value."""
    request = replace(
        EXCHANGE,
        audience=("x", "y"),
        resource=("https://x.example/", "https://y.example/"),
        scopes=("a", "b"),
        requested_type=TRANSACTION_TOKEN,
        subject_type=JWT,
        parameters=(("vendor", "1"),),
    )
    assert token_form(request, subject_token="t") == [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", "t"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:txn_token"),
        ("audience", "x"),
        ("audience", "y"),
        ("resource", "https://x.example/"),
        ("resource", "https://y.example/"),
        ("scope", "a b"),
        ("vendor", "1"),
    ]


def test_the_least_exchange() -> None:
    """What is not configured is not sent, not even empty."""
    assert token_form(EXCHANGE, subject_token="t") == [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", "t"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ]


@pytest.mark.parametrize(
    ("actor", "called"),
    [
        ("client", "urn:ietf:params:oauth:token-type:access_token"),
        ("file", "urn:ietf:params:oauth:token-type:jwt"),
    ],
)
def test_an_actor(actor: Actor, called: str) -> None:
    """Its type is there exactly when its token is."""
    request = replace(EXCHANGE, actor=actor)
    form = dict(token_form(request, subject_token="t", actor_token="a"))
    assert (form["actor_token"], form["actor_token_type"]) == ("a", called)
    form = dict(token_form(request, subject_token="t"))
    assert not {"actor_token", "actor_token_type"} & form.keys()


def test_jwt_bearer() -> None:
    """RFC 7523, section 2.1, with what Entra wants besides."""
    request = TokenRequest(
        "c",
        "jwt_bearer",
        scopes=("api/.default",),
        parameters=(("requested_token_use", "on_behalf_of"),),
    )
    assert token_form(request, subject_token="t", actor_token="a") == [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", "t"),
        ("scope", "api/.default"),
        ("requested_token_use", "on_behalf_of"),
    ]


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_parameters_override_nothing(name: str) -> None:
    """A second value of ours, or a value where we send none, is not sent."""
    request = replace(EXCHANGE, parameters=((name, "evil"), ("other", "1")))
    form = token_form(request, subject_token="t", actor_token="a")
    assert "evil" not in [value for _, value in form]
    assert form[-1] == ("other", "1")
