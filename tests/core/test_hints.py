"""What a refusal tells the operator to do."""

import pytest

from sidecar.core.claims import IssuerPolicy, read_principal
from sidecar.core.hints import audience_hint, issuer_hint, missing_hint
from sidecar.core.outcome import Denial, Reason
from sidecar.core.profiles import PROFILES, ProfileName
from tests.core.signing import claims

PUBLIC = "https://login.shop.example/realms/shop"


@pytest.mark.parametrize(
    ("found", "trusted", "said"),
    [
        (PUBLIC + "/", PUBLIC, "a slash at the end"),
        (PUBLIC, PUBLIC + "/", "a slash at the end"),
        (PUBLIC.replace("shop.ex", "Shop.ex"), PUBLIC, "upper and lower case"),
        ("http://keycloak:8080/realms/shop", PUBLIC, "discovery_url"),
        (PUBLIC + ":8443", PUBLIC, None),
        (PUBLIC.replace(".example", ".example:8443"), PUBLIC, "discovery_url"),
        (PUBLIC.replace("https", "http"), PUBLIC, "differ in the scheme"),
        ("http://localhost:8080", "http://localhost:9090", "discovery_url"),
        ("https://evil.example", "https://issuer.test", None),
        ("https://evil.example/realms/x", PUBLIC, None),
        ("https://sts.windows.net/t/", "https://login.microsoftonline.com/t/v2.0",
         "requestedAccessTokenVersion"),
        ("https://login.microsoftonline.com/t/v2.0", "https://sts.windows.net/t/",
         "requestedAccessTokenVersion"),
        ("https://[x/realms/shop", PUBLIC, None),
        ("not a URL", PUBLIC, None),
        ("", PUBLIC, None),
        (PUBLIC + "/" * 2048, PUBLIC, None),
    ],
)  # fmt: skip
def test_issuers_that_are_nearly_right(found: str, trusted: str, said: str | None) -> None:
    """Slash, case, scheme, host and port, and Entra's two versions are recognised; others not."""
    hint = issuer_hint(found, ["https://another.example/x", trusted])
    assert (hint == "") is (said is None)
    assert said is None or said in hint


def test_keycloaks_audience_hint_names_the_mapper() -> None:
    """A default realm's token, which has the audience account, says what to add and where."""
    policy = IssuerPolicy("shop", PUBLIC, frozenset({"orders"}), profile="keycloak")
    denial = read_principal(claims(aud="account"), policy)
    assert denial == Denial(
        Reason.AUDIENCE_MISMATCH,
        "the token's audience is [account]; this service accepts [orders]; an audience mapper on "
        "the client, or on one of its client scopes, adds one",
    )
    assert not denial.public


def test_keycloaks_missing_subject_names_the_scope() -> None:
    """A client without the scope basic gets tokens without sub, and the log says so."""
    policy = IssuerPolicy("shop", PUBLIC, frozenset({"orders"}), profile="keycloak")
    denial = read_principal(claims(sub=None), policy)
    assert isinstance(denial, Denial)
    assert "client scope basic" in denial.detail
    assert missing_hint("sub", "generic") == missing_hint("jti", "keycloak") == ""


@pytest.mark.parametrize("profile", PROFILES)
def test_every_family_has_something_to_say_of_audiences(profile: ProfileName) -> None:
    """No profile leaves an operator with a mismatch and nothing to do."""
    assert len(audience_hint(profile)) > 20
