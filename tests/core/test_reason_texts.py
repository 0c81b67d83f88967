"""What operators are told of each reason: complete, and the page that is made of it current."""

import re
from pathlib import Path

import pytest

from sidecar.core.outcome import Reason
from sidecar.core.reason_texts import RESERVED, TEXTS, described, markdown, plain, remedies
from sidecar.explain import inbound, outbound
from tests.support.answered_reasons import never_answered, programs

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.code)
def test_every_reason_has_its_words(reason: Reason) -> None:
    """Meaning, step and at least one who can do something; no reason is forgotten."""
    text = TEXTS[reason]
    assert text.meaning.endswith(".")
    assert text.step in {*inbound.ORDER, *outbound.ORDER}
    assert len(remedies(reason)) == len({who for who, _ in text.remedies}) > 0
    assert all(how and not how.endswith(".") for _, how in text.remedies)
    assert next(iter(described(reason))).startswith(f"{reason.code}: {reason.facts.status} ")


def test_the_page_is_what_the_code_prints() -> None:
    """``sidecar reasons --markdown > docs/reasons.md`` makes it."""
    assert (DOCS / "reasons.md").read_text() == markdown()


def test_the_page_has_every_reason_once() -> None:
    """In a row of its own, or among those that are reserved."""
    rows = re.findall(r"^\| `([a-z_]+)` \| [45][0-9][0-9] \|", markdown(), re.MULTILINE)
    assert sorted(rows) == sorted(reason.code for reason in Reason if reason not in RESERVED)
    later = markdown().rpartition("Reserved for later versions: ")[2]
    assert set(re.findall("`([a-z_]+)`", later)) == {reason.code for reason in RESERVED}


def test_what_is_reserved() -> None:
    """Only what no version answers yet."""
    assert {reason.code for reason in RESERVED} == {"token_revoked"}


def test_links_in_a_terminal() -> None:
    """A link becomes the path of the page."""
    assert plain("see [tokens](tokens.md), [the profile](profiles.md)") == (
        "see docs/tokens.md, the profile (docs/profiles.md)"
    )


def test_a_reason_that_is_never_answered_is_named() -> None:
    """All but the reserved ones must be produced by a whole run of the tests."""
    codes = {reason.code for reason in Reason}
    assert never_answered(codes) == []
    assert never_answered(codes - {"no_rule", "draining"}) == ["no_rule", "draining"]
    assert never_answered(codes - {"token_revoked"}) == []
    assert {"cli", "journeys"} <= programs()
