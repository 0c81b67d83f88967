"""Claims of the token as headers: each kind of value in each format, and what none can carry."""

from typing import Any
from urllib.parse import unquote

import pytest

from sidecar.core.field_values import encode
from sidecar.core.headers import RESERVED, classifier
from sidecar.core.identity import IdentityFormat, IdentityHeader, IdentityRenderer, IdentitySource
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Principal

LIMIT = 8192


def principal(claims: dict[str, Any] | None = None, **changes: Any) -> Principal:
    return Principal("shop", "https://id.example", "alice", claims=claims, **changes)


def of_claim(form: IdentityFormat, prefix: str = "", *path: str) -> IdentityHeader:
    return IdentityHeader("x-user-value", "claim", path or ("value",), "", form, prefix)


def rendered(header: IdentityHeader, who: Principal) -> str | Denial | None:
    """Return what stands in *header*, ``None`` where there is none."""
    lines = IdentityRenderer(headers=[header], max_bytes=LIMIT).render(who)
    if isinstance(lines, Denial):
        return lines
    found = [line for line in lines.decode("ascii").split("\r\n") if line.startswith("x-user-")]
    assert len(found) <= 1
    return found[0].partition(": ")[2] if found else None


VALUES = {
    "string": ("text", "Alice", "Alice"),
    "string with commas": ("text", "Doe, Jane", "Doe, Jane"),
    "a string is one element": ("comma", "a,ADMIN", "a%2CADMIN"),
    "string with spaces": ("comma", "Jane Doe", "Jane Doe"),
    "no ASCII": ("text", "Zoë", "Zo%C3%AB"),
    "percent": ("text", "50%", "50%25"),
    "line break": ("text", "a\r\nx-auth-roles: ADMIN", "a%0D%0Ax-auth-roles: ADMIN"),
    "spaces at the ends": ("text", " a ", "%20a%20"),
    "spaces only": ("text", "  ", "%20%20"),
    "empty string": ("text", "", ""),
    "integer": ("text", 42, "42"),
    "float": ("text", 1.5, "1.5"),
    "boolean": ("text", True, "true"),
    "null": ("text", None, None),
    "null in JSON": ("json", None, None),
    "list by comma": ("comma", ["b", "a"], "b,a"),
    "list by space": ("space", ["a b", "c,d"], "a%20b c,d"),
    "list by semicolon": ("semicolon", ["a;b", "c,d"], "a%3Bb;c,d"),
    "list by pipe": ("pipe", ["a|b", "c"], "a%7Cb|c"),
    "comma in an element": ("comma", ["A,ADMIN", "B"], "A%2CADMIN,B"),
    "spaces around an element": ("comma", ["A", " ADMIN"], "A,%20ADMIN"),
    "mixed scalars": ("comma", ["a", 1, False, 0.5], "a,1,false,0.5"),
    "empty list": ("comma", [], None),
    "list of nothing": ("comma", [""], ""),
    "list in JSON": ("json", ["a,b", 1, None, {"c": []}], '["a,b",1,null,{"c":[]}]'),
    "empty list in JSON": ("json", [], "[]"),
    "object in JSON": ("json", {"street": "Straße 1"}, '{"street":"Stra\\u00dfe 1"}'),
    "DEL in JSON": ("json", "a\x7fb", '"a\\u007fb"'),
    "percent in JSON": ("json", "50%", '"50%"'),
}


@pytest.mark.parametrize(("form", "value", "expected"), VALUES.values(), ids=VALUES.keys())
def test_a_value_has_one_written_form(
    form: IdentityFormat, value: object, expected: str | None
) -> None:
    """What the format's separator, the line or a decoder would misread is encoded."""
    assert rendered(of_claim(form), principal({"value": value})) == expected


@pytest.mark.parametrize("form", ["text", "comma", "space", "semicolon", "pipe", "json"])
def test_an_absent_claim_gives_no_header(form: IdentityFormat) -> None:
    """Nothing is made up, nested or not."""
    assert rendered(of_claim(form), principal({})) is None
    assert rendered(of_claim(form, "", "a", "b"), principal({"a": {}})) is None


def test_nested_paths() -> None:
    """A path leads to what it names."""
    claims = {"resource_access": {"my.app": {"roles": ["x", "y"]}}}
    header = of_claim("comma", "", "resource_access", "my.app", "roles")
    assert rendered(header, principal(claims)) == "x,y"


def test_prefix() -> None:
    """It is before each element, and before a single value."""
    assert rendered(of_claim("comma", "ROLE_"), principal({"value": ["A", "B"]})) == "ROLE_A,ROLE_B"
    assert rendered(of_claim("text", "u-"), principal({"value": 7})) == "u-7"


UNFIT = {
    "list as text": ("text", ["a"], "a list"),
    "object as text": ("text", {"a": 1}, "an object"),
    "object by comma": ("comma", {"a": 1}, "an object"),
    "list in a list": ("comma", [["a"]], "a list with something else in it"),
    "object in a list": ("space", [{"a": 1}], "a list with something else in it"),
    "null in a list": ("comma", ["a", None], "a list with something else in it"),
}


@pytest.mark.parametrize(("form", "value", "kind"), UNFIT.values(), ids=UNFIT.keys())
def test_what_a_header_cannot_carry_refuses_the_token(
    form: IdentityFormat, value: object, kind: str
) -> None:
    """An app that is told less than the token says may permit more."""
    denial = rendered(of_claim(form), principal({"value": value}))
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.CLAIMS_MALFORMED
    assert denial.detail.startswith(f"the token's value is {kind}")
    assert denial.detail.endswith(f"which the header x-user-value ({form}) cannot carry")


def test_a_path_through_something_else_refuses_the_token() -> None:
    """What is malformed does not pass for what is absent."""
    denial = rendered(
        of_claim("comma", "", "realm_access", "roles"), principal({"realm_access": 1})
    )
    assert isinstance(denial, Denial)
    assert "realm_access.roles is inside something that is no object" in denial.detail


SOURCES: dict[IdentitySource, tuple[IdentityFormat, str]] = {
    "subject": ("text", "alice"),
    "issuer": ("text", "https://id.example"),
    "scopes": ("space", "a b"),
    "roles": ("comma", "X,Y"),
    "client_roles": ("json", '["z"]'),
}


@pytest.mark.parametrize("source", SOURCES)
def test_what_the_profile_read_from_the_token(source: IdentitySource) -> None:
    """Sets are sorted; an empty one gives no header in any format."""
    form, expected = SOURCES[source]
    header = IdentityHeader("x-user-value", source, (), "orders", form)
    full = principal(
        None,
        scopes=frozenset("ba"),
        roles=frozenset("YX"),
        client_roles={"orders": frozenset("z"), "other": frozenset("w")},
    )
    assert rendered(header, full) == expected
    assert rendered(header, principal()) in (None, expected if form == "text" else None)


def test_the_four_have_the_configured_prefix() -> None:
    """And nothing else is called by the usual one."""
    lines = IdentityRenderer(prefix="x-user-", max_bytes=LIMIT).render(
        principal(None, scopes=frozenset("s"), roles=frozenset("r"))
    )
    assert lines == (
        b"x-user-subject: alice\r\nx-user-issuer: https://id.example\r\n"
        b"x-user-scopes: s\r\nx-user-roles: r\r\n"
    )


def test_all_of_it_is_bounded() -> None:
    """Exactly the bound passes; one byte more refuses, also where it is the signed line's."""
    who = principal({"value": "a" * 50})
    header = of_claim("text")
    lines = IdentityRenderer(headers=[header], max_bytes=LIMIT).render(who)
    assert isinstance(lines, bytes)
    size = len(lines)
    assert IdentityRenderer(headers=[header], max_bytes=size).render(who) == lines

    def signed_bytes(_: Principal) -> int:
        return 10

    for limit, signed in ((size - 1, None), (size + 9, signed_bytes)):
        denial = IdentityRenderer(headers=[header], max_bytes=limit, signed_bytes=signed).render(
            who
        )
        assert isinstance(denial, Denial)
        assert denial.reason is Reason.IDENTITY_TOO_LARGE
        assert denial.detail == (
            f"the headers that tell the app who calls would have {limit + 1} bytes; "
            f"inbound.identity.max_size is {limit}"
        )


@pytest.mark.parametrize("separator", ["", ",", " ", ";", "|"])
@pytest.mark.parametrize("value", ["a, b;c|d", " x", "%2C", "é", "", "~_-.", "\t"])
def test_encoded_values_decode_to_themselves(value: str, separator: str) -> None:
    """``unquote`` gives back what was encoded, and the separator stands nowhere in it."""
    written = encode(value, separator)
    assert unquote(written) == value
    assert written == written.strip()
    assert not separator or separator not in written


@pytest.mark.parametrize(
    "name", [b"x-user-email", b"x_user_email", b"x.user.email", b"x-team-subject", b"x_team_any"]
)
def test_configured_names_are_reserved_in_every_spelling(name: bytes) -> None:
    """The prefix as a whole, and each further header."""
    mark = classifier("x-team-", frozenset({"x-user-email"}))
    assert mark(name) == RESERVED
    assert mark(b"x-user-emails") == mark(b"x-auth-subject") == 0
    assert mark(b"x-sidecar-reason") == RESERVED
