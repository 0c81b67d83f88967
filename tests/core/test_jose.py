"""Form and header of a signed token (RFC 7515)."""

from typing import Any

import pytest

from sidecar.core.jose import MAX_KID_LENGTH, Compact, Header, parse_compact, too_large
from sidecar.core.outcome import Denial, Reason
from tests.core.signing import b64

GOOD = {"alg": "RS256"}


def compact(header: bytes, payload: str = "e30", signature: str = "AAAA") -> bytes:
    return f"{b64(header)}.{payload}.{signature}".encode()


def reason(token: bytes) -> Reason:
    parsed = parse_compact(token)
    assert isinstance(parsed, Denial)
    return parsed.reason


def test_a_good_token_is_taken_apart() -> None:
    """Header values, signing input, payload and signature are what RFC 7515 says they are."""
    token = compact(b'{"alg":"ES256","kid":"k","typ":"AT+jwt"}')
    parsed = parse_compact(token)
    assert parsed == Compact(Header("ES256", "k", "at+jwt"), token[:-5], b"{}", b"\0\0\0")
    assert parse_compact(compact(b'{"alg":"ES256"}')) == Compact(
        Header("ES256", None, None), compact(b'{"alg":"ES256"}')[:-5], b"{}", b"\0\0\0"
    )


def test_the_parsed_token_hides_its_secrets() -> None:
    """Neither payload nor signature appear in a repr that may end up in a log."""
    parsed = parse_compact(compact(b'{"alg":"ES256"}'))
    assert "e30" not in repr(parsed)
    assert "AAAA" not in repr(parsed)
    assert "payload" not in repr(parsed)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b".",
        b"..",
        b"a.b",
        b"a.b.c.d",
        b"a.b.c.d.e.f",
        b'{"payload":"e30","signatures":[]}',
        b"e30.e30.AAAA",
        compact(b'{"alg":"RS256"}') + b"=",
        compact(b'{"alg":"RS256"}') + b"\n",
        b" " + compact(b'{"alg":"RS256"}'),
        compact(b'{"alg":"RS256"}', payload="e3 0"),
        compact(b'{"alg":"RS256"}', payload="e31"),
        compact(b'{"alg":"RS256"}', signature="AAAB="),
        compact(b'{"alg":"RS256"}', signature="AAB"),
        compact(b'{"alg":"RS256","alg":"RS256"}'),
        compact(b'{"alg":"RS256","x":NaN}'),
        compact(b'["alg"]'),
        compact(b"{}"),
        compact(b'{"alg":null}'),
        compact(b'{"alg":["RS256"]}'),
        compact(b'{"alg":256}'),
        compact(b'{"alg":"RS256","kid":1}'),
        compact(b'{"alg":"RS256","kid":null}'),
        compact(b'{"alg":"RS256","kid":{"a":1}}'),
        compact(b'{"alg":"RS256","typ":[]}'),
        compact(b'{"alg":"RS256","typ":null}'),
        compact(b'{"alg":"RS256","kid":"' + b"k" * (MAX_KID_LENGTH + 1) + b'"}'),
        compact(b'{"alg":"RS256","x":' + b"[" * 60 + b"]" * 60 + b"}"),
    ],
)
def test_bad_form_is_malformed(token: bytes) -> None:
    """Anything but three canonical parts with a well-typed header is malformed."""
    assert reason(token) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "alg",
    ["none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "rs256", "RS1", "", "ES256K",
     "RSA-OAEP", "ed25519", "eddsa", "ESP256", "RS256 "],
)  # fmt: skip
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_other_algorithms_are_refused(alg: str, signature: str) -> None:
    """none in any spelling, symmetric and unknown algorithms are refused whatever the signature."""
    token = compact(f'{{"alg":"{alg}"}}'.encode(), signature=signature)
    assert reason(token) is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize(
    "extra", ['"crit":["b64"]', '"crit":[]', '"crit":null', '"b64":false', '"b64":true']
)
def test_extensions_are_refused(extra: str) -> None:
    """crit in any form, and b64 with or without it, are refused (RFC 7515, 4.1.11; RFC 7797)."""
    assert reason(compact(f'{{"alg":"RS256",{extra}}}'.encode())) is Reason.CRITICAL_UNKNOWN


@pytest.mark.parametrize(
    "extra", ['"jku":"https://evil.test"', '"x5u":1', '"jwk":{"kty":"oct"}', '"x5c":["A"]']
)
def test_keys_in_the_header_are_ignored(extra: str) -> None:
    """Keys that the token brings along or points to change nothing (RFC 8725, section 3.10)."""
    parsed = parse_compact(compact(f'{{"alg":"RS256",{extra}}}'.encode()))
    assert isinstance(parsed, Compact)
    assert parsed.header == Header("RS256", None, None)


@pytest.mark.parametrize(
    ("typ", "read"),
    [
        ("JWT", "jwt"),
        ("at+JWT", "at+jwt"),
        ("application/at+jwt", "at+jwt"),
        ("Application/JWT", "jwt"),
        ("application/a/b", "application/a/b"),
        ("text/jwt", "text/jwt"),
        ("application/", ""),
        ("", ""),
    ],
)
def test_types_are_media_types(typ: str, read: str) -> None:
    """Case does not matter, and ``application/`` is understood (RFC 7515, section 4.1.9)."""
    parsed = parse_compact(compact(f'{{"alg":"RS256","typ":"{typ}"}}'.encode()))
    assert isinstance(parsed, Compact)
    assert parsed.header.typ == read


@pytest.mark.parametrize("cty", ["JWT", "jwt", "application/jwt", "Application/JWT"])
def test_a_nested_token_is_refused(cty: str) -> None:
    """A signed token that holds another one is not unpacked (RFC 7519, section 5.2)."""
    token = compact(f'{{"alg":"RS256","cty":"{cty}"}}'.encode())
    assert reason(token) is Reason.TOKEN_TYPE


def test_another_content_type_says_nothing() -> None:
    """A cty that is not JWT is ignored; one that is no string is malformed."""
    assert isinstance(parse_compact(compact(b'{"alg":"RS256","cty":"json"}')), Compact)
    assert reason(compact(b'{"alg":"RS256","cty":["JWT"]}')) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("enc", ['"A256GCM"', "null", "1"])
def test_the_header_of_a_jwe_is_refused(enc: str) -> None:
    """What is a JWS by its parts must not be a JWE by its header (RFC 7516, section 9)."""
    token = compact(f'{{"alg":"RS256","enc":{enc}}}'.encode())
    assert reason(token) is Reason.TOKEN_TYPE


def test_an_opaque_token_is_named_as_such() -> None:
    """A token without dots is no JWT, and the operator is told what to ask the issuer for."""
    parsed = parse_compact(b"0a1b2c3d4e5f")
    assert isinstance(parsed, Denial)
    assert parsed.reason is Reason.TOKEN_MALFORMED
    assert "opaque" in parsed.detail


def test_an_encrypted_token_is_named_as_such() -> None:
    """Five parts are a JWE: another type of token, and the operator is told so."""
    parsed = parse_compact(b"a.b.c.d.e")
    assert isinstance(parsed, Denial)
    assert parsed.reason is Reason.TOKEN_TYPE
    assert "JWE" in parsed.detail


@pytest.mark.parametrize(
    "header", [b'{"alg":"HS\\r\\nx-auth-subject: root"}', b'{"alg":"' + b"A" * 5000 + b'"}']
)
def test_details_are_one_short_printable_line(header: bytes) -> None:
    """Untrusted header text is sanitised and truncated before an operator sees it."""
    parsed: Any = parse_compact(compact(header))
    assert parsed.detail.isprintable()
    assert parsed.detail.isascii()
    assert len(parsed.detail) <= 250


def test_the_size_denial_states_both_sizes() -> None:
    """The operator sees how large the token is and how large it may be."""
    denial = too_large(17, 16)
    assert denial.reason is Reason.TOKEN_TOO_LARGE
    assert "17" in denial.detail
    assert "16" in denial.detail
