"""What a sidecar is given by default is what was measured and written down."""

from pathlib import Path

from sidecar.kubernetes.settings import Resources

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def test_the_page_says_the_defaults() -> None:
    """docs/operating.md says why; these are its numbers."""
    given = Resources()
    requests = f"  requests: {{cpu: {given.cpu_request}, memory: {given.memory_request}}}\n"
    limits = f"  limits: {{memory: {given.memory_limit}}}\n"
    assert given.cpu_limit == ""
    assert f"resources:\n{requests}{limits}" in PAGE.read_text()
