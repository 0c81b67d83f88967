"""Judging one answer of user-service."""

import json
from typing import Any

import pytest

from sidecar.demo.answers import document, judge_identity, problem_reason
from sidecar.testbed.load import Broken, Call, Refused, Right, Verdict, Wrong

CALL = Call("alice", "http://x/users/alice", {})


def told(subject: object, about: str = "alice") -> dict[str, Any]:
    return {"profile": {"id": about, "asked_by": {"x-auth-subject": subject}}}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (told("alice"), Right()),
        (told("bob"), Wrong("bob")),
        (told("bob", about="bob"), Wrong("bob")),
        (told("alice", about="bob"), Wrong("alice, told about bob")),
        (told(""), Wrong("nobody")),
        (told(None), Wrong("nobody")),
        (told(["alice"]), Wrong("nobody")),
        ({"profile": {"id": "alice"}}, Wrong("nobody")),
        ({"profile": "alice"}, Wrong("nobody")),
        ({}, Wrong("nobody")),
        (["alice"], Wrong("nobody")),
    ],
)
def test_a_success_is_right_only_with_the_right_subject(answer: object, verdict: Verdict) -> None:
    """Anything but the caller's own verified subject is wrong, an absent one included."""
    assert judge_identity(CALL, 200, {}, json.dumps(answer).encode()) == verdict


def test_a_refusal_is_known_by_its_header() -> None:
    """A sidecar's own refusal says its reason in a header."""
    headers = {"x-sidecar-reason": "token_expired"}
    assert judge_identity(CALL, 401, headers, b"") == Refused("token_expired")


def test_a_refusal_further_on_is_known_by_the_problem_passed_on() -> None:
    """user-service passes on the problem document it met, which names the reason."""
    problem = {"type": "urn:jwt-sidecar:reason:attribution_missing"}
    body = json.dumps({"status": 403, "answer": problem}).encode()
    assert judge_identity(CALL, 502, {}, body) == Refused("attribution_missing")


def test_an_error_without_a_reason_is_broken() -> None:
    """A failure that no sidecar wrote is not mistaken for a refusal."""
    assert judge_identity(CALL, 500, {}, b"<html>oops") == Broken("status 500")


@pytest.mark.parametrize("problem", [None, "text", {}, {"type": "about:blank"}, {"type": 7}])
def test_other_problems_have_no_reason_of_ours(problem: object) -> None:
    """Only our own problem types give a reason."""
    assert problem_reason(problem) == ""


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{"])
def test_a_body_that_is_no_object_is_read_as_empty(body: bytes) -> None:
    """Whatever a service answers, reading it does not raise."""
    assert document(body) == {}
