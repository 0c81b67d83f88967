"""Base64url and JSON, strictly."""

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.encoding import (
    MAX_JSON_DEPTH,
    EncodingError,
    _read_strictly,
    base64url_decode,
    is_plain,
    json_object,
    printable,
)


@pytest.mark.parametrize("length", range(70))
def test_base64url_round_trip(length: int) -> None:
    """What the standard library encodes, without padding, decodes to the same bytes."""
    data = bytes((7 * i + 251) % 256 for i in range(length))
    assert base64url_decode(base64.urlsafe_b64encode(data).rstrip(b"=")) == data


def test_base64url_has_exactly_one_spelling() -> None:
    """Of the 64 texts that differ in the last character, only canonical ones decode."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for stem, canonical in ((b"A", 4), (b"AA", 16), (b"AAA", 64)):
        decoded = []
        for last in alphabet:
            try:
                decoded.append(base64url_decode(stem + bytes((last,))))
            except EncodingError:
                continue
        assert len(set(decoded)) == len(decoded) == canonical


@pytest.mark.parametrize(
    "text",
    [b"A", b"AAAAA", b"AA==", b"AAA=", b"+/AA", b"AA A", b"AA\n", b"AAA\n", b"\xff\xffAA", b"AB"],
)
def test_base64url_refuses_what_is_not_canonical(text: bytes) -> None:
    """Padding, whitespace, the other alphabet, impossible lengths and stray bits are refused."""
    with pytest.raises(EncodingError):
        base64url_decode(text)


@given(
    st.one_of(
        st.binary(max_size=24),
        st.text(alphabet='AQgwE4z9+/-_=\\"u0 \n', max_size=24).map(str.encode),
    )
)
def test_base64url_decodes_what_encodes_to_the_same_text(text: bytes) -> None:
    """Whatever the bytes: they are refused, or encoding the outcome gives them back exactly."""
    try:
        decoded = base64url_decode(text)
    except EncodingError:
        with suppress(ValueError):
            read = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_")
            assert base64.urlsafe_b64encode(read).rstrip(b"=") != text
    else:
        assert base64.urlsafe_b64encode(decoded).rstrip(b"=") == text


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b"{",
        b"{}{}",
        b"{} x",
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\xff"}',
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"a":"\\u003a"}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":-1e999}',
        b'{"a":"\\ud800"}',
        b'{"\\uDC00":1}',
        b'{"a":"\n"}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_json_refuses_what_could_be_read_twice(raw: bytes) -> None:
    """Duplicates, NaN, overflow, lone surrogates, other encodings and non-objects are refused."""
    with pytest.raises(EncodingError):
        json_object(raw)


def test_json_accepts_what_is_unambiguous() -> None:
    """Surrogate pairs, long but bounded integers and any order of names are fine."""
    assert json_object(b'{"b":"\\ud83d\\ude00","a":[1.5,{"b":null}]}') == {
        "b": "\U0001f600",
        "a": [1.5, {"b": None}],
    }
    assert json_object(b'{"a":' + b"9" * 400 + b"}")["a"] == int("9" * 400)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_depth_is_bounded(opening: str, closing: str) -> None:
    """Exactly the permitted depth is accepted and one level more is not."""
    inner = MAX_JSON_DEPTH - 1
    good = '{"x":' + opening * inner + "1" + closing * inner + "}"
    assert json_object(good.encode())
    with pytest.raises(EncodingError, match="nested deeper"):
        json_object(('{"x":' + opening * (inner + 1) + "1" + closing * (inner + 1) + "}").encode())


def test_json_depth_ignores_brackets_in_strings_and_side_by_side() -> None:
    """Many brackets that do not nest are no depth."""
    wide = {"a": "[" * 500, 'b"\\': [[] for _ in range(500)], "c": '{"\\'}
    assert json_object(json.dumps(wide).encode()) == wide


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b"[" * 40 + b'"\\' * 100_000,
        b"[" * 20 + b"{" * 20 + b'"' + b'\\"' * 100_000 + b"\\",
        b"[" * 16 + b'"' * 100_001 + b"[" * 17,
    ],
)
def test_hostile_json_is_refused_without_recursion(raw: bytes) -> None:
    """Deep nesting and unterminated strings are refused without running out of stack."""
    with pytest.raises(EncodingError):
        json_object(raw)


TEXTS = st.text(alphabet=st.sampled_from('a:,{}[]"\\ué\n\U0001f600'), max_size=4) | st.text(
    max_size=3
)
SCALARS = (
    TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False))
    | TEXTS.map(json.dumps)
    | st.integers().map(str)
    | st.floats().map(json.dumps)
    | st.sampled_from(["true", "null", "-0", "1E5", "01", "9" * 25, '"\\u003a"', "1e999", '"\t"'])
)


def member_lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects and arrays as texts, whose names may repeat."""
    spaces = st.sampled_from(["", " ", "\n"])
    member = st.tuples(st.sampled_from(['"a"', '"b"', '":"', '"\\u0061"']), spaces, values)
    return st.lists(member, max_size=4).map(
        lambda members: (
            "{" + ",".join(f"{name}:{space}{value}" for name, space, value in members) + "}"
        )
    ) | st.lists(values, max_size=3).map(lambda found: "[" + ",".join(found) + "]")


@given(member_lists(st.recursive(SCALARS, member_lists, max_leaves=12)), st.binary(max_size=2))
def test_the_quick_reading_of_json_is_the_strict_one(text: str, rest: bytes) -> None:
    """Whatever is written, with names that repeat, escapes and colons anywhere, both agree."""
    raw = text.encode("utf-8", "surrogatepass") + rest
    try:
        strict = repr(_read_strictly(raw))
    except EncodingError:
        with pytest.raises(EncodingError):
            json_object(raw)
    else:
        assert repr(json_object(raw)) == strict


@pytest.mark.parametrize(
    ("value", "plain"),
    [("", True), ("a b", True), ("\u00e9\u00a0", True), ("a\nb", False), ("\x7f", False),
     ("\x85", False), ("\u2028", False), (1, False), (None, False)],
)  # fmt: skip
def test_plain_strings_have_no_control_characters(value: object, plain: bool) -> None:
    """A plain string is safe in a header field and on one line of a log."""
    assert is_plain(value) is plain


def test_printable_is_short_ascii() -> None:
    """Untrusted text is shown as printable ASCII of bounded length."""
    assert printable("a\r\nb\u00e9") == "a??b?"
    assert printable("x" * 100, limit=10) == "x" * 10 + "..."
