import pytest

from sidecar.config.template import PLACEHOLDER_AUDIENCE, render
from tests.config.cases import lines
from tests.config.conftest import Examine


def test_accepted_as_printed(examined: Examine) -> None:
    """The file is accepted as it is, and fits no token until the audience is set."""
    text = render(issuer="https://idp.example", app="http://127.0.0.1:8080", audiences=())
    found = examined(text)
    assert (lines(found.errors), lines(found.warnings)) == ([], [])
    assert found.config is not None
    assert found.config.issuers["main"].audiences == (PLACEHOLDER_AUDIENCE,)
    assert f"Replace {PLACEHOLDER_AUDIENCE}" in text


def test_accepted_with_the_comments_taken_away(examined: Examine) -> None:
    """The parts that are comments are right too, once they are wanted."""
    text = render(issuer="https://idp.example", app="http://127.0.0.1:8080", audiences=("x",))
    head, _, tail = text.partition("# outbound:")
    outbound = "outbound:" + tail.replace("\n# ", "\n")
    rules = head.replace("    # - name: admin\n    #   paths", "    - name: admin\n      paths")
    found = examined(rules.replace("    #   require", "      require") + outbound)
    assert lines(found.errors) == []
    assert found.config is not None
    assert [rule.name for rule in found.config.inbound.rules] == ["health", "admin", "everything"]
    assert list(found.config.outbound.destinations) == ["profile-service"]


@pytest.mark.parametrize("audience", ["yes", "7", "a: b", "# x", "'", '"', "é", "null", "a,b", "-"])
def test_any_audience_is_quoted_as_needed(audience: str, examined: Examine) -> None:
    """Values that YAML would read otherwise are written so that it does not."""
    text = render(issuer="https://a.example", app="http://127.0.0.1:1", audiences=(audience,))
    found = examined(text)
    assert lines(found.errors) == []
    assert found.config is not None
    assert found.config.issuers["main"].audiences == (audience,)
