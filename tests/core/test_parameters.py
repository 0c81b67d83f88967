"""Cookies and query parameters by name: found in every spelling, removed to the byte."""

import pytest

from sidecar.core.parameters import parameter_name, take_cookies, take_parameters

NAMES = frozenset({b"access_token"})


@pytest.mark.parametrize(
    ("sent", "kept", "values"),
    [
        (b"access_token=T", b"", [b"T"]),
        (b"a=1; access_token=T; b=2", b"a=1; b=2", [b"T"]),
        (b"access_token=T; b=2", b"b=2", [b"T"]),
        (b"a=1; access_token=T", b"a=1", [b"T"]),
        (b"a=1;access_token=T;b=2", b"a=1;b=2", [b"T"]),
        (b'a="x y" ;  b=\xff\x80 ;access_token=T', b'a="x y" ;  b=\xff\x80 ', [b"T"]),
        (b"access_token=T;", b"", [b"T"]),
        (b"access_token=T; ; ", b"", [b"T"]),
        (b"access_token=", b"", [b""]),
        (b"access_token", b"", [b""]),
        (b"access_token=T; access_token=T", b"", [b"T", b"T"]),
        (b"access_token=T; a=1; access_token=U", b"a=1", [b"T", b"U"]),
        (b"access_token=a=b", b"", [b"a=b"]),
        # Spellings that some framework reads as the name.
        (b"a=1; access%5Ftoken=T", b"a=1", [b"T"]),
        (b"%61ccess_token=T; b=2", b"b=2", [b"T"]),
        (b" \taccess_token\t = T ", b"", [b"T"]),
        (b"\xa0access_token=T", b"", [b"T"]),
        (b"\xe2\x80\x83access_token\xc2\xa0=T", b"", [b"T"]),
        (b"access_token%20=T", b"", [b"T"]),
    ],
)
def test_the_named_cookie_is_taken_and_the_others_stay(
    sent: bytes, kept: bytes, values: list[bytes]
) -> None:
    """Every cookie of that name, in every spelling, and nothing else changes."""
    assert take_cookies(sent, NAMES) == (kept, [(b"access_token", value) for value in values])


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b";;;",
        b"a=1; b",
        b"my_access_token=T",
        b"access_token2=T",
        b"access-token=T",
        b"Access_Token=T",
        b"a=access_token",
        b"a=%; b=%zz; =access_token",
        b'json={"access_token": "x", "y": [1, 2]}',
        b"access%255Ftoken=T",
        b"\x80\xff",
    ],
)
def test_other_peoples_cookies_are_not_judged(sent: bytes) -> None:
    """Whatever they look like, they stay as they are."""
    assert take_cookies(sent, NAMES) == (sent, [])


def test_only_wanted_values_are_taken() -> None:
    """A cookie of the name whose value is somebody else's stays."""
    kept, taken = take_cookies(
        b"access_token=theirs; a=1; access_token=ours", NAMES, lambda value: value == b"ours"
    )
    assert (kept, taken) == (b"access_token=theirs; a=1", [(b"access_token", b"ours")])


@pytest.mark.parametrize(
    "sent",
    [
        b"access_token",
        b"access%5Ftoken",
        b"%61%63cess_token",
        b"Access_Token",
        b"ACCESS-TOKEN",
        b"access.token",
        b"access+token",
        b"access%20token",
        b"+access_token",
        b"%09access_token%0d",
        b"access_token[]",
        b"access_token%5B0%5D",
        b"access_token%00x",
    ],
)
def test_a_parameters_name_has_many_spellings(sent: bytes) -> None:
    """Whatever some parser gives the app under the name is the name."""
    assert parameter_name(sent) == b"access-token"


@pytest.mark.parametrize(
    "sent",
    [b"", b"access%255Ftoken", b"access_token2", b"xaccess_token", b"access", b"[access_token]"],
)
def test_other_names_are_others(sent: bytes) -> None:
    """A name is compared as a whole."""
    assert parameter_name(sent) != b"access-token"


@pytest.mark.parametrize(
    ("sent", "kept", "values"),
    [
        (b"access_token=T", b"", [b"T"]),
        (b"a=1&access_token=T&b=2", b"a=1&b=2", [b"T"]),
        (b"access_token=T&b=2", b"b=2", [b"T"]),
        (b"a=1&access_token=T", b"a=1", [b"T"]),
        (b"a=1;access_token=T&b=2", b"a=1&b=2", [b"T"]),
        (b"a=1&&access_token=T&%zz&b", b"a=1&&%zz&b", [b"T"]),
        (b"access%5Ftoken=T&ACCESS-token=U", b"", [b"T", b"U"]),
        (b"access_token&a=%20+", b"a=%20+", [b""]),
        (b"access_token=a=b", b"", [b"a=b"]),
    ],
)
def test_the_named_parameter_is_taken_and_the_others_stay(
    sent: bytes, kept: bytes, values: list[bytes]
) -> None:
    """Order, separators and encoding of the others do not change."""
    names = frozenset({b"access-token"})
    assert take_parameters(sent, names) == (kept, [(b"access-token", value) for value in values])


@pytest.mark.parametrize("sent", [b"", b"&", b"a", b"a=access_token", b"x;y;;=&%", b"token=T"])
def test_a_query_without_it_is_returned_as_it_came(sent: bytes) -> None:
    """Not a byte is rewritten."""
    assert take_parameters(sent, frozenset({b"access-token"})) == (sent, [])
