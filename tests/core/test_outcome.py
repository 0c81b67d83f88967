"""Refusals: codes that never change, and answers that tell the right people enough."""

import json
import re

import pytest

from sidecar.core.outcome import REASONS_BY_CODE, Denial, Reason
from sidecar.core.problem import challenge, problem_body, problem_lines


def test_codes_are_unique_and_fit_a_label() -> None:
    """A code is lower-case words, and finds its reason again."""
    assert len(REASONS_BY_CODE) == len(Reason)
    for reason in Reason:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason.code)
        assert REASONS_BY_CODE[reason.code] is reason


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.code)
def test_every_reason_has_an_answer_that_holds_together(reason: Reason) -> None:
    """Status, challenge and document agree, for callers and for the app."""
    facts = reason.facts
    assert 400 <= facts.status <= 599
    assert (facts.retry_after_seconds is not None) == (facts.status == 503)
    for to_app in (False, True):
        lines = problem_lines(Denial(reason, "inside"), decision="d1", to_app=to_app).decode()
        document = json.loads(problem_body(Denial(reason, "inside"), decision="d1", to_app=to_app))
        assert document["status"] == facts.status
        assert document["type"] == f"urn:jwt-sidecar:reason:{reason.code}"
        assert document["instance"] == "urn:jwt-sidecar:decision:d1"
        assert ("detail" in document) is to_app
        assert f"x-sidecar-reason: {reason.code}\r\n" in lines
        challenged = "www-authenticate" in lines
        assert challenged is (facts.challenge and not to_app)


def test_a_401_from_inbound_always_challenges() -> None:
    """RFC 9110, 15.5.2: a 401 carries WWW-Authenticate."""
    assert all(reason.facts.challenge for reason in Reason if reason.facts.status == 401)


def test_the_challenge_says_nothing_about_an_error_when_no_token_was_sent() -> None:
    """RFC 6750, 3.1: no error code without credentials."""
    assert challenge(Denial(Reason.TOKEN_MISSING)) == "Bearer"


def test_the_challenge_names_error_and_scope() -> None:
    """The scopes that would do are in the challenge of an insufficient one."""
    assert challenge(Denial(Reason.SCOPE_MISSING, scope="a b")) == (
        'Bearer error="insufficient_scope", '
        'error_description="The token lacks a required scope", scope="a b"'
    )


def test_a_public_detail_reaches_the_caller() -> None:
    """What says nothing of the inside may be told."""
    body = problem_body(Denial(Reason.PATH_AMBIGUOUS, "x", public=True), decision="d", to_app=False)
    assert json.loads(body)["detail"] == "x"
