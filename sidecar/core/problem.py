"""A refusal as an HTTP answer: status, challenge and problem document.

Nothing of the inside reaches a caller: the details of a denial are for the operator, unless it
says that they are public. Towards our own app they always are.
"""

import json

from sidecar.core.names import DECISION_HEADER, PROBLEM_TYPE_PREFIX, REASON_HEADER
from sidecar.core.outcome import Denial


def problem_body(denial: Denial, *, decision: str, to_app: bool) -> bytes:
    """Return the ``application/problem+json`` document (RFC 9457, section 3)."""
    facts = denial.reason.facts
    document: dict[str, str | int] = {
        "type": PROBLEM_TYPE_PREFIX + denial.reason.code,
        "title": facts.title,
        "status": facts.status,
    }
    if denial.detail and (to_app or denial.public):
        document["detail"] = denial.detail
    document["instance"] = f"urn:jwt-sidecar:decision:{decision}"
    return json.dumps(document, ensure_ascii=True).encode("ascii") + b"\n"


def problem_lines(denial: Denial, *, decision: str, to_app: bool) -> bytes:
    """Return the field lines of the answer.

    ``WWW-Authenticate`` follows RFC 6750, section 3, and is for callers only: an app has no
    credential that it could send.
    """
    facts = denial.reason.facts
    lines = [
        "content-type: application/problem+json",
        "cache-control: no-store",
        f"{REASON_HEADER}: {denial.reason.code}",
        f"{DECISION_HEADER}: {decision}",
    ]
    if facts.challenge and not to_app:
        lines.append(f"www-authenticate: {challenge(denial)}")
    retry_after_seconds = denial.retry_after_seconds
    if retry_after_seconds is None:
        retry_after_seconds = facts.retry_after_seconds
    if retry_after_seconds is not None:
        lines.append(f"retry-after: {retry_after_seconds}")
    return "".join(line + "\r\n" for line in lines).encode("ascii")


def challenge(denial: Denial) -> str:
    """Return the Bearer challenge; without ``error`` where no credential was sent."""
    facts = denial.reason.facts
    if facts.error is None:
        return "Bearer"
    text = f'Bearer error="{facts.error}", error_description="{facts.title}"'
    if denial.scope:
        text += f', scope="{denial.scope}"'
    for name, value in denial.challenge:
        text += f', {name}="{value}"'
    return text
