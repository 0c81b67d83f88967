"""``explain``: what it becomes, and each way to get it wrong."""

import pytest

from sidecar.config.model import Explain
from tests.config.cases import lines
from tests.config.conftest import Examine

START = (
    "version: 1\ninbound: {rules: [{paths: [/**], allow: anyone}]}\nadmin: {listen: 127.0.0.1:0}\n"
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", Explain()),
        ("explain: {refusals: 5, permits: 0}\n", Explain(refusals=5, permits=0)),
        ("explain: {redact: [email, sub]}\n", Explain(redact=("email", "sub"))),
        ("explain: {decision_ids: all}\n", Explain(decision_ids="all")),
    ],
)
def test_accepted(examined: Examine, written: str, expected: Explain) -> None:
    """Every key arrives, and each has a default."""
    found = examined(START + written)
    assert lines(found.errors) == []
    assert found.config is not None
    assert found.config.explain == expected


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{refusal: 5}", "f.yaml:4:11: explain.refusal: "),
        ("{refusals: -1}", "f.yaml:4:21: explain.refusals: "),
        ("{permits: 100001}", "f.yaml:4:20: explain.permits: "),
        ("{permits: all}", "f.yaml:4:20: explain.permits: "),
        ("{redact: email}", "f.yaml:4:19: explain.redact: must be a list, not `email`"),
        ("{redact: []}", "f.yaml:4:19: explain.redact: must not be empty"),
        ("{decision_ids: none}", "f.yaml:4:25: explain.decision_ids: "),
    ],
)
def test_refused(examined: Examine, written: str, problem: str) -> None:
    """With line and column, and what is wrong."""
    found = examined(f"{START}explain: {written}\n")
    (line,) = lines(found.errors)
    assert problem.partition(":")[2] in line
