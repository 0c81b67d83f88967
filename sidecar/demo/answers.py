"""What user-service's answers say: whom profile-service saw, or who refused and why."""

import json
from collections.abc import Mapping
from typing import Any

from sidecar.core.names import PROBLEM_TYPE_PREFIX, REASON_HEADER
from sidecar.testbed.load import Broken, Call, Refused, Right, Verdict, Wrong

SUBJECT_HEADER = "x-auth-subject"


def document(body: bytes) -> dict[str, Any]:
    """The JSON object in *body*, or an empty one."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def subject_seen(answer: Mapping[str, Any]) -> str:
    """The subject that profile-service's sidecar verified; empty when it named none."""
    profile = answer.get("profile")
    asked_by = profile.get("asked_by") if isinstance(profile, dict) else None
    subject = asked_by.get(SUBJECT_HEADER) if isinstance(asked_by, dict) else None
    return subject if isinstance(subject, str) else ""


def problem_reason(problem: object) -> str:
    """The reason in a problem document (RFC 9457) that a sidecar wrote; empty in any other."""
    kind = problem.get("type") if isinstance(problem, dict) else None
    if isinstance(kind, str) and kind.startswith(PROBLEM_TYPE_PREFIX):
        return kind.removeprefix(PROBLEM_TYPE_PREFIX)
    return ""


def judge_identity(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
    """Judge a call by whether profile-service saw, and answered about, whom it was made for."""
    answer = document(body)
    if status != 200:
        reason = headers.get(REASON_HEADER) or problem_reason(answer.get("answer"))
        return Refused(reason) if reason else Broken(f"status {status}")
    seen = subject_seen(answer)
    if seen != call.user:
        return Wrong(seen or "nobody")
    about = answer["profile"].get("id")
    return Right() if about == call.user else Wrong(f"{seen}, told about {about}")
