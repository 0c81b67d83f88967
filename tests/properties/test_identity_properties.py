"""Any claims give well-formed field lines, from which the app reads exactly what was claimed."""

import json
import re
from typing import Any
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.headers import identity_lines
from sidecar.core.identity import IdentityFormat, IdentityHeader, IdentityRenderer
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Principal

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
SCALARS = st.one_of(
    TEXT, st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
)
ANY = st.recursive(
    st.one_of(st.none(), SCALARS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)
SEPARATORS: dict[IdentityFormat, str] = {"comma": ",", "space": " ", "semicolon": ";", "pipe": "|"}
PREFIX = "ROLE_"

LINE = re.compile(rb"[a-z-]+: (?:[!-~](?:[ -~]*[!-~])?)?\r\n")
"""Of RFC 9110, section 5.5, with a value that loses nothing at its ends."""


def value_of(form: IdentityFormat, claim: Any, prefix: str = "") -> str | Denial | None:
    header = IdentityHeader("x-value", "claim", ("it",), "", form, prefix)
    lines = IdentityRenderer(headers=[header], max_bytes=1 << 20).render(
        Principal("shop", "https://id.example", "alice", claims={"it": claim})
    )
    if isinstance(lines, Denial):
        assert lines.reason is Reason.CLAIMS_MALFORMED
        assert lines.detail.isascii()
        return lines
    assert b"".join(match[0] for match in LINE.finditer(lines)) == lines
    found = re.findall(rb"^x-value: (.*)\r$", lines, re.MULTILINE)
    assert len(found) <= 1
    return found[0].decode("ascii") if found else None


def written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def is_scalar(value: Any) -> bool:
    return isinstance(value, str | bool | int | float)


@given(ANY)
def test_text_is_one_value_or_refused(claim: Any) -> None:
    """Decoding gives the value as it was."""
    found = value_of("text", claim)
    if is_scalar(claim):
        assert isinstance(found, str)
        assert unquote(found) == written(claim)
    else:
        assert found is None if claim is None else isinstance(found, Denial)


@given(ANY, st.sampled_from(sorted(SEPARATORS)), st.sampled_from(["", PREFIX]))
def test_a_list_is_split_and_decoded(claim: Any, form: IdentityFormat, prefix: str) -> None:
    """A single value reads as a list of one, and nothing can add an element."""
    found = value_of(form, claim, prefix)
    elements = claim if isinstance(claim, list) else [claim]
    if claim is None or claim == []:
        assert found is None
    elif all(is_scalar(each) for each in elements):
        assert isinstance(found, str)
        parts = found.split(SEPARATORS[form])
        assert [unquote(part) for part in parts] == [prefix + written(each) for each in elements]
        assert all(part == part.strip() for part in parts)
    else:
        assert isinstance(found, Denial)


@given(ANY)
def test_json_is_read_back(claim: Any) -> None:
    """Whatever it is."""
    found = value_of("json", claim)
    if claim is None:
        assert found is None
    else:
        assert isinstance(found, str)
        assert json.loads(found) == claim


@given(st.frozensets(TEXT.filter(bool), max_size=5), TEXT.filter(lambda text: text.strip() != ""))
def test_the_usual_four_too(roles: frozenset[str], subject: str) -> None:
    """A role with a comma, or with spaces around it, becomes no other role."""
    lines = identity_lines(Principal("shop", "https://id.example", subject, roles=roles))
    assert b"".join(match[0] for match in LINE.finditer(lines)) == lines
    (told,) = re.findall(rb"^x-auth-subject: (.*)\r$", lines, re.MULTILINE)
    assert unquote(told.decode()) == subject
    said = re.findall(rb"^x-auth-roles: (.*)\r$", lines, re.MULTILINE)
    parts = said[0].decode().split(",") if said else []
    assert {unquote(part) for part in parts} == roles
    assert all(part == part.strip() for part in parts)
