"""What the app is told of the caller: every key, and each mistake with what would do."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sidecar.config.identity_keys import MAX_HEADERS
from sidecar.config.model import Identity, SignedHeader
from sidecar.core.identity import IdentityHeader
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine

HERE = "inbound.identity"
NAME = "must be letters, digits and `-`, 2 to 64 of them, a letter first"
ANOTHER = "has another meaning, and cannot tell the app who calls"

ERRORS = {
    "a list": ("{headers: [x-a]}",
               "headers: must be a map of headers, as {x-user-email: {claim: email}}"),
    "no map for a header": ("{headers: {x-a: email}}",
                            "headers.x-a: must be a map, not a single value"),
    "no source": ("{headers: {x-a: {format: json}}}",
                  "headers.x-a: needs `claim`, `from` or `client_roles`: what stands in it"),
    "two sources": ("{headers: {x-a: {claim: email, from: roles}}}",
                    "headers.x-a.from: is a second source, besides `claim`"),
    "unknown source": ("{headers: {x-a: {from: role}}}", "headers.x-a.from: `role` is not one of "
                       "subject, issuer, scopes, roles (did you mean `roles`?)"),
    "unknown key": ("{headers: {x-a: {clam: email}}}",
                    "headers.x-a.clam: unknown key (did you mean `claim`?)"),
    "no path": ("{headers: {x-a: {claim: a..b}}}", "headers.x-a.claim: `a..b` has an empty name, "
                "or a space outside double quotes; a path is names joined by dots, one that holds "
                "a dot in double quotes"),
    "unknown format": ("{headers: {x-a: {claim: a, format: csv}}}", "headers.x-a.format: `csv` is "
                       "not one of text, comma, space, semicolon, pipe, json"),
    "prefix of JSON": ("{headers: {x-a: {claim: a, format: json, prefix: r_}}}",
                       "headers.x-a.prefix: is for values that stand one after the other, not for "
                       "`json`"),
    "prefix that separates": ('{headers: {x-a: {claim: a, prefix: "r,"}}}', "headers.x-a.prefix: "
                              "`r,` must be 1 to 64 visible characters without `%`, `,`, `;`, `|` "
                              "and spaces"),
    "underscores": ("{headers: {x_user_email: {claim: a}}}",
                    f"headers.x_user_email: this name {NAME} (did you mean `x-user-email`?)"),
    "no name": ('{headers: {"x y": {claim: a}}}', f"headers.x y: this name {NAME}"),
    "other letters": ("{headers: {näme: {claim: a}}}", f"headers.näme: this name {NAME}"),
    "the sidecar's own": ("{headers: {X-Sidecar-Email: {claim: a}}}", "headers.X-Sidecar-Email: "
                          "this name is reserved: `x-sidecar-` is for the sidecar's own headers"),
    "twice": ("{headers: {x-a: {claim: a}, X-A: {claim: b}}}",
              "headers.X-A: is the same header as `x-a`"),
    "one of the four": ("{headers: {X-Auth-Subject: {claim: a}}}",
                        "headers.X-Auth-Subject: this name is taken: it is always sent"),
    "prefix without end": ("{prefix: x-user}", "prefix: `x-user` must be letters, digits and `-`, "
                           "2 to 32 of them, with `-` at the end"),
    "prefix of everything": ("{prefix: x-}", "prefix: `x-` is too short: every `x-*` is removed, "
                             "`x-sidecar-` too"),
    "prefix of its own": ("{prefix: x-b-}", None),
    "prefix of another": ("{prefix: X-Forwarded-User-}", f"prefix: `X-Forwarded-User-` {ANOTHER}"),
    "prefix of accept": ("{prefix: accept-}", f"prefix: `accept-` {ANOTHER}"),
    "no audience": ("{signed: {}}", "signed.audience: is required"),
    "claim of ours": ("{signed: {audience: a, claims: [email, sub]}}", "signed.claims[1]: `sub` "
                      "would replace `sub`, which the sidecar writes itself"),
    "claim within ours": ("{signed: {audience: a, claims: [sub_id.x]}}", "signed.claims[0]: "
                          "`sub_id.x` would replace `sub_id`, which the sidecar writes itself"),
    "claim within another": ("{signed: {audience: a, claims: [a.b, c, a]}}",
                             "signed.claims[0]: is within `a`, which is listed too"),
    "lifetime": ("{signed: {audience: a, lifetime: 2h}}",
                 "signed.lifetime: `2h` must be from 5s to 1h"),
    "algorithm": ("{signed: {audience: a, algorithm: RS256}}",
                  "signed.algorithm: `RS256` is not one of ES256, EdDSA (did you mean `ES256`?)"),
    "key that is not there": ("{signed: {audience: a, key: nowhere.pem}}",
                              "signed.key: cannot be read: No such file or directory"),
    "key that is none": ("{signed: {audience: a, key: sidecar.yaml}}",
                         "signed.key: holds no usable private key in PEM"),
    "header of another": ("{headers: {x-a: {claim: a}}, signed: {audience: a, header: X-A}}",
                          "signed: `x-a` is one of `headers` already"),
    "header of the four": ("{signed: {audience: a, header: x-auth-roles}}",
                           "signed: `x-auth-roles` is always sent with the caller's own value"),
    "size": ("{max_size: 1MiB}", "max_size: `1MiB` must be from 256B to 64KiB"),
}  # fmt: skip


@pytest.mark.parametrize(("identity", "expected"), ERRORS.values(), ids=ERRORS.keys())
def test_errors(identity: str, expected: str | None, examined: Examine) -> None:
    """Each mistake is named with line, column, path and what would do."""
    found = lines(examined(f"{VALID_START}inbound: {{identity: {identity}}}\n").errors)
    assert all(re.match(r"3:\d+: inbound\.identity\.", line) for line in found)
    assert [line.partition(f"{HERE}.")[2] for line in found] == ([expected] if expected else [])


TAKEN = [
    "Host", "content-length", "Content-Type", "authorization", "cookie", "connection", "te",
    "Transfer-Encoding", "Proxy-Authorization", "upgrade", "Sec-WebSocket-Key", "origin", "accept",
    "X-Forwarded-For", "forwarded", "X-Real-IP", "x-request-id", "traceparent", "baggage", "b3",
    "X-HTTP-Method-Override", "x-original-url", "user-agent", "if-match", "via", "referer",
]  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_a_header_with_another_meaning_does_not_tell_who_calls(
    name: str, examined: Examine
) -> None:
    """For a further header and for the signed one, at the place where it is written."""
    text = f"{VALID_START}inbound:\n  identity:\n    headers:\n      {name}: {{claim: a}}\n"
    assert lines(examined(text).errors) == [f"6:7: {HERE}.headers.{name}: this name {ANOTHER}"]
    text = f"{VALID_START}inbound: {{identity: {{signed: {{audience: a, header: {name}}}}}}}\n"
    assert [line.partition(": ")[2] for line in lines(examined(text).errors)] == [
        f"{HERE}.signed.header: `{name}` {ANOTHER}"
    ]


@pytest.mark.parametrize(
    "name", ["Remote-User", "X-Forwarded-User", "X-Forwarded-Groups", "X-WEBAUTH-USER", "x-auth-x"]
)
def test_names_that_apps_know(name: str, examined: Examine) -> None:
    """What proxies that authenticate call it by convention."""
    text = f"{VALID_START}inbound: {{identity: {{headers: {{{name}: {{from: subject}}}}}}}}\n"
    found = examined(text)
    assert found.errors == ()
    assert found.config is not None
    (header,) = found.config.inbound.identity.headers
    assert header.name == name.lower()


def test_more_headers_than_there_may_be(examined: Examine) -> None:
    """Each costs every request its bytes."""
    written = [f"x-a{number}: {{claim: a}}" for number in range(MAX_HEADERS + 1)]
    for count, expected in (
        (MAX_HEADERS, []),
        (MAX_HEADERS + 1, [f"{HERE}.headers: must not be more than {MAX_HEADERS}"]),
    ):
        text = f"{VALID_START}inbound: {{identity: {{headers: {{{', '.join(written[:count])}}}}}}}"
        assert [line.partition(": ")[2] for line in lines(examined(text).errors)] == expected


@pytest.mark.parametrize(
    ("identity", "source"),
    [
        ("{}", "X-Auth-Token"),
        ("{prefix: x-user-}", "X_User_Token"),
        ("{headers: {x-a: {claim: a}}}", "X_A"),
        ("{signed: {audience: a, header: x-sig}}", "X-Sig"),
    ],
)
def test_what_tells_who_calls_is_no_place_of_the_token(
    identity: str, source: str, examined: Examine
) -> None:
    """The same header cannot be the caller's to set and ours alone."""
    text = f"{VALID_START}inbound: {{token_sources: [{{header: {source}}}], identity: {identity}}}"
    assert lines(examined(text).errors) == [
        f"3:36: inbound.token_sources[0].header: `{source}` is a header of `identity`, and cannot "
        "hold a token"
    ]


def test_another_prefix_frees_the_usual_one(examined: Examine) -> None:
    """OpenStack's clients send their token as ``X-Auth-Token``."""
    inbound = "{token_sources: [{header: X-Auth-Token}], identity: {prefix: x-user-}}"
    assert examined(f"{VALID_START}inbound: {inbound}\n").errors == ()


def test_every_key(examined: Examine) -> None:
    """Formats that are not written follow from the source, the signed header from the prefix."""
    text = """\
inbound:
  identity:
    prefix: X-User-
    headers:
      X-User-Email: {claim: email}
      x-user-authorities: {from: roles, prefix: ROLE_}
      x-user-orders: {client_roles: orders, format: pipe}
      x-user-address: {claim: address, format: json}
      x-user-scp: {from: scopes}
      x-user-id: {from: subject}
    signed:
      audience: user-service
      issuer: shop-sidecar
      lifetime: 30s
      claims: [email, 'resource_access."my.app".roles']
      algorithm: EdDSA
    max_size: 4KiB
"""
    found = examined(VALID_START + text)
    assert (lines(found.errors), found.warnings) == ([], ())
    assert found.config is not None
    assert found.config.inbound.identity == Identity(
        prefix="x-user-",
        headers=(
            IdentityHeader("x-user-email", "claim", ("email",)),
            IdentityHeader("x-user-authorities", "roles", prefix="ROLE_"),
            IdentityHeader("x-user-orders", "client_roles", client="orders", format="pipe"),
            IdentityHeader("x-user-address", "claim", ("address",), format="json"),
            IdentityHeader("x-user-scp", "scopes", format="space"),
            IdentityHeader("x-user-id", "subject", format="text"),
        ),
        signed=SignedHeader(
            audience="user-service",
            header="x-user-assertion",
            issuer="shop-sidecar",
            lifetime_seconds=30.0,
            claims=(("email",), ("resource_access", "my.app", "roles")),
            algorithm="EdDSA",
        ),
        max_bytes=4096,
    )
    default = examined(VALID_START).config
    assert default is not None
    assert default.inbound.identity == Identity()


def test_a_key_file(examined: Examine, tmp_path: Path) -> None:
    """Its path is relative to the file, and it leaves no choice of algorithm."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "identity.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    signed = "{audience: a, key: identity.pem}"
    found = examined(f"{VALID_START}inbound: {{identity: {{signed: {signed}}}}}\n")
    assert found.errors == ()
    assert found.config is not None
    assert found.config.inbound.identity.signed == SignedHeader(audience="a", key=str(path))
    signed = "{audience: a, key: identity.pem, algorithm: ES256}"
    found = examined(f"{VALID_START}inbound: {{identity: {{signed: {signed}}}}}\n")
    assert [line.partition(": ")[2] for line in lines(found.errors)] == [
        f"{HERE}.signed.algorithm: is for a key that is generated; `key` names one that is not"
    ]
