"""``sidecar reasons``: the list, one of them, and the page."""

from sidecar.core.outcome import Reason
from sidecar.core.reason_texts import markdown
from tests.cli.conftest import Run


def test_list_one_and_page(sidecar: Run) -> None:
    """All in a line each; one with what to do, also by the type of a problem document."""
    done = sidecar("reasons")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [r.code for r in Reason]
    for code in ("no_rule", "urn:jwt-sidecar:reason:no_rule"):
        done = sidecar("reasons", code)
        assert done.stdout.startswith("no_rule: 403 No rule allows this request\n")
        assert "  whoever configures this sidecar: add a rule" in done.stdout
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert sidecar("reasons", "--markdown").stdout == markdown()


def test_no_such_reason(sidecar: Run) -> None:
    """What was probably meant is named."""
    done = sidecar("reasons", "no_rules")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean `no_rule`?" in done.stderr
