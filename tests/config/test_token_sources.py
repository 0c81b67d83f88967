"""Where a listener looks for tokens, and which issuers and audiences its rules take."""

from pathlib import Path

import pytest

import sidecar
from sidecar.config.model import Require
from sidecar.core.token_sources import TokenSource
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine

SOURCES = "inbound.token_sources"

ERRORS = {
    "a word": ("authorization", f"{SOURCES}: must be a list, not `authorization` (did you mean "
               "`[authorization]`?)"),
    "empty": ("[]", f"{SOURCES}: must not be empty"),
    "another word": ("[header]", f"{SOURCES}[0]: `header` needs a name: write `{{header: NAME}}`"),
    "unknown word": ("[authorisation]", f"{SOURCES}[0]: `authorisation` is not `authorization` "
                     "(did you mean `authorization`?)"),
    "a list in it": ("[[cookie]]", f"{SOURCES}[0]: must be `authorization` or a map such as "
                     "`{cookie: NAME}`, not a list"),
    "no key": ("[{}]", f"{SOURCES}[0]: must have exactly one of header, cookie, "
               "websocket_protocol, websocket_protocol_after, query"),
    "two keys": ("[{header: x-t, cookie: t}]", f"{SOURCES}[0]: must have exactly one of header, "
                 "cookie, websocket_protocol, websocket_protocol_after, query"),
    "unknown key": ("[{cooky: t}]",
                    f"{SOURCES}[0].cooky: unknown key (did you mean `cookie`?)"),
    "twice": ("[authorization, authorization]",
              f"{SOURCES}[1]: is the same source as {SOURCES}[0]"),
    "the same header": ("[{header: X-Access-Token}, {cookie: x}, {header: x_access_token}]",
                        f"{SOURCES}[2]: is the same source as {SOURCES}[0]"),
    "the same parameter": ("[{query: access_token}, {query: Access-Token}]",
                           f"{SOURCES}[1]: is the same source as {SOURCES}[0]"),
    "authorization as a header": ("[{header: Authorization}]", f"{SOURCES}[0].header: "
                                  "`Authorization` is a source of its own: write `authorization`"),
    "all cookies": ("[{header: cookie}]", f"{SOURCES}[0].header: `cookie` holds several values: "
                    "write `{cookie: NAME}`"),
    "no name of a header": ('[{header: "x y"}]',
                            f"{SOURCES}[0].header: `x y` is not the name of a header"),
    "name with other letters": ("[{header: tökén}]",
                                f"{SOURCES}[0].header: `tökén` is not the name of a header"),
    "name of a cookie": ('[{cookie: "a;b"}]', f"{SOURCES}[0].cookie: `a;b` is not the name of a "
                         "cookie"),
    "percent": ("[{cookie: a%5Fb}]", f"{SOURCES}[0].cookie: `a%5Fb` is not the name of a cookie"),
    "no prefix": ("[{websocket_protocol: bearer}]",
                  f"{SOURCES}[0].websocket_protocol: `bearer` must be a prefix that ends in `.`, "
                  "`_`, `~` or `-`; for a token after a subprotocol of its own write "
                  "`{websocket_protocol_after: NAME}`"),
    "no subprotocol": ('[{websocket_protocol_after: "a,b"}]',
                       f"{SOURCES}[0].websocket_protocol_after: `a,b` is not a subprotocol"),
    "no parameter": ("[{query: a&b}]", f"{SOURCES}[0].query: `a&b` must be letters, digits, `.`, "
                     "`_`, `~` or `-`"),
}  # fmt: skip


@pytest.mark.parametrize(("sources", "expected"), ERRORS.values(), ids=ERRORS.keys())
def test_errors(sources: str, expected: str, examined: Examine) -> None:
    """Each mistake is named with its path and what would do."""
    found = lines(examined(f"{VALID_START}inbound: {{token_sources: {sources}}}\n").errors)
    assert [line.partition(": ")[2] for line in found] == [expected]


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Content-Type", "connection", "Proxy-Authorization", "te", "origin",
     "Sec-WebSocket-Protocol", "X_Sidecar_Context", "traceparent", "x-request-id",
     "baggage", "X-HTTP-Method-Override", "x-forwarded-for", "X_Forwarded_Proto", "forwarded"],
)  # fmt: skip
def test_a_header_with_another_meaning_holds_no_token(name: str, examined: Examine) -> None:
    """Removing it would change the request, or it is not the caller's to set."""
    found = lines(
        examined(f"{VALID_START}inbound: {{token_sources: [{{header: {name}}}]}}\n").errors
    )
    message = f"`{name}` has another meaning, and cannot hold a token"
    assert found == [f"3:36: {SOURCES}[0].header: {message}"]


def test_every_source(examined: Examine) -> None:
    """In the order written; the default is Authorization alone."""
    text = """\
inbound:
  token_sources:
    - authorization
    - header: X-Forwarded-Access-Token
    - cookie: __Host-access_token
    - websocket_protocol: base64url.bearer.authorization.k8s.io.
    - websocket_protocol_after: bearer
"""
    found = examined(VALID_START + text)
    assert (found.errors, found.warnings) == ((), ())
    assert found.config is not None
    assert found.config.inbound.token_sources == (
        TokenSource("authorization"),
        TokenSource("header", "X-Forwarded-Access-Token"),
        TokenSource("cookie", "__Host-access_token"),
        TokenSource("websocket_protocol", "base64url.bearer.authorization.k8s.io."),
        TokenSource("websocket_protocol_after", "bearer"),
    )
    default = examined(VALID_START).config
    assert default is not None
    assert default.inbound.token_sources == (TokenSource("authorization"),)


def test_the_query_is_warned_about(examined: Examine) -> None:
    """It is legal and discouraged."""
    found = examined(f"{VALID_START}inbound: {{token_sources: [authorization, {{query: t}}]}}\n")
    assert found.errors == ()
    assert lines(found.warnings) == [
        f"3:42: warning: {SOURCES}[1]: lets tokens come in URLs, which proxies and browsers write "
        "down (RFC 6750, section 5.3); prefer a header or a cookie"
    ]


TWO = """\
version: 1
issuers:
  shop: {issuer: "https://a.example", audiences: [orders, billing]}
  staff: {issuer: "https://b.example", audiences: [intranet]}
"""


def test_rules_name_issuers_and_audiences(examined: Examine) -> None:
    """Beside scopes and roles, or alone."""
    rule = "{paths: [/**], require: {issuers: [staff, shop], audiences: [intranet, orders]}}"
    found = examined(f"{TWO}inbound: {{rules: [{rule}]}}\n")
    assert (found.errors, found.warnings) == ((), ())
    assert found.config is not None
    assert found.config.inbound.rules[0].access == Require(
        issuers=("staff", "shop"), audiences=("intranet", "orders")
    )


def test_an_issuer_that_does_not_exist_is_found(examined: Examine) -> None:
    """With the nearest name that does."""
    rule = "{paths: [/**], require: {issuers: [shop, stuff]}}"
    found = examined(f"{TWO}inbound: {{rules: [{rule}]}}\n")
    assert lines(found.errors) == [
        "5:60: inbound.rules[0].require.issuers[1]: `stuff` is none of `issuers` (did you mean "
        "`staff`?)"
    ]


def test_an_issuer_with_an_error_of_its_own_does_exist(examined: Examine) -> None:
    """One mistake is reported once."""
    text = TWO.replace("audiences: [intranet]", "audience: [intranet]")
    rule = "{paths: [/**], require: {issuers: [staff]}}"
    found = examined(f"{text}inbound: {{rules: [{rule}]}}\n")
    assert len(found.errors) == 1


@pytest.mark.parametrize(
    ("require", "is_warned"),
    [
        ("{audiences: [intranet]}", False),
        ("{issuers: [staff], audiences: [intranet]}", False),
        ("{issuers: [shop], audiences: [intranet]}", True),
        ("{audiences: [orders, warehouse]}", True),
    ],
)
def test_an_audience_beyond_the_issuers_own_is_warned_about(
    require: str, is_warned: bool, examined: Examine
) -> None:
    """Only a token with two audiences would do."""
    found = examined(f"{TWO}inbound: {{rules: [{{paths: [/**], require: {require}}}]}}\n")
    assert found.errors == ()
    assert [line.partition("is in no")[1] for line in lines(found.warnings)] == (
        ["is in no"] if is_warned else []
    )


def test_an_issuer_for_any_audience_leaves_none_out(examined: Examine) -> None:
    """There the rule's own list is all there is."""
    text = TWO.replace("[intranet]", "any")
    rule = "{paths: [/**], require: {issuers: [staff], audiences: [x]}}"
    found = examined(f"{text}inbound: {{rules: [{rule}]}}\n")
    assert not [line for line in lines(found.warnings) if "is in no" in line]


DOCUMENT = Path(sidecar.__file__).parents[1] / "docs" / "tokens.md"


def test_the_documents_examples_are_accepted(examined: Examine) -> None:
    """With the one warning that the text explains."""
    sources, rules = (part.split("```")[0] for part in DOCUMENT.read_text().split("```yaml\n")[1:])
    issuers = TWO.replace("  shop:", "  partners:")
    found = examined(issuers + sources)
    assert (found.errors, len(found.warnings)) == ((), 1)
    found = examined(issuers + rules)
    assert (found.errors, found.warnings) == ((), ())
