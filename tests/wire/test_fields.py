"""Field names: legality and marks."""

import pytest

from sidecar.wire import fields
from sidecar.wire.fields import MAX_CACHED_NAME_BYTES, MAX_CACHED_NAMES, NameTable, is_token


@pytest.mark.parametrize("name", [b"a", b"Content-Type", b"!#$%&'*+-.^_`|~09AZaz"])
def test_token_characters_make_a_token(name: bytes) -> None:
    """Every character of RFC 9110, 5.6.2 is allowed in a token."""
    assert is_token(name)


@pytest.mark.parametrize("byte", [*range(0x21), *b'"(),/:;<=>?@[\\]{}', 0x7F, 0x80, 0xFF])
def test_any_other_byte_makes_no_token(byte: int) -> None:
    """One byte outside the list is enough to refuse a name."""
    assert not is_token(b"a" + bytes([byte]) + b"b")


def test_the_empty_name_is_no_token() -> None:
    """A name has at least one character."""
    assert not is_token(b"")


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        (b"Host", fields.HOST),
        (b"HOST", fields.HOST),
        (b"Content-Length", fields.CONTENT_LENGTH),
        (b"transfer-encoding", fields.TRANSFER_ENCODING),
        (b"Connection", fields.CONNECTION),
        (b"Proxy-Connection", fields.HOP_BY_HOP),
        (b"Proxy-Authorization", fields.HOP_BY_HOP),
        (b"Keep-Alive", fields.HOP_BY_HOP),
        (b"TE", fields.TE),
        (b"Trailer", fields.TRAILER),
        (b"Expect", fields.EXPECT),
        (b"Upgrade", fields.UPGRADE),
        (b"Content_Length", fields.LOOKALIKE),
        (b"transfer.ENCODING", fields.LOOKALIKE),
        (b"Content-Length-", fields.ORDINARY),
        (b"ContentLength", fields.ORDINARY),
        (b"Accept", fields.ORDINARY),
        (b"Accept ", fields.ILLEGAL),
        (b" Accept", fields.ILLEGAL),
        (b"", fields.ILLEGAL),
    ],
)
def test_marks_follow_the_lower_case_name(name: bytes, mark: int) -> None:
    """What the wire must know is found in any spelling, and nothing else is."""
    assert NameTable()[name] == mark


def test_the_application_marks_only_what_the_wire_has_no_use_for() -> None:
    """An application cannot take a framing field away from the wire."""
    table = NameTable(lambda _name: fields.FIRST_APPLICATION_MARK)
    assert table[b"Host"] == fields.HOST
    assert table[b"X-Anything"] == fields.FIRST_APPLICATION_MARK


def test_the_table_never_outgrows_its_bound() -> None:
    """Any number of different names costs look-ups, not memory, and marks stay right."""
    table = NameTable()
    for number in range(2 * MAX_CACHED_NAMES + 1):
        table[b"x-%d" % number]
        assert len(table) <= MAX_CACHED_NAMES
    assert table[b"host"] == fields.HOST


def test_long_and_illegal_names_are_not_remembered() -> None:
    """Only short legal names are worth memory."""
    table = NameTable()
    assert table[b"x" * (MAX_CACHED_NAME_BYTES + 1)] == fields.ORDINARY
    assert table[b"a b"] == fields.ILLEGAL
    assert len(table) == 0
