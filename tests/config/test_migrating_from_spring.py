"""``docs/migrating-from-spring.md``: what it says to write is accepted as it stands."""

import re
import textwrap
from pathlib import Path

import pytest

from sidecar.config.load import examine
from sidecar.config.model import Config
from tests.cli.conftest import ROOT

PAGE = (ROOT / "docs" / "migrating-from-spring.md").read_text()
BLOCKS = [
    textwrap.dedent(block)
    for block in re.findall(r"^ *```yaml\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
]
ISSUERS = """\
issuers:
  shop:
    {issuer: "https://a.example", audiences: [profile-service, catalogue, billing],
     profile: keycloak}
"""


def read(block: str, directory: Path) -> Config:
    """Examine *block*; a part of a file gets the version and an issuer that it lacks."""
    start = "" if "version: 1" in block else "version: 1\n"
    issuers = "" if "issuers:\n" in block else ISSUERS
    file = directory / "sidecar.yaml"
    file.write_text(start + issuers + block)
    found = examine([str(file)], environ={"ORDERS_SECRET": "x"})
    assert (found.errors, found.warnings) == ((), ())
    assert found.config is not None
    return found.config


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_block_is_accepted(number: int, tmp_path: Path) -> None:
    """Without a warning, too."""
    read(BLOCKS[number], tmp_path)


def test_there_are_blocks_and_they_can_fail(tmp_path: Path) -> None:
    """The page is read as a page is written, and a key that is gone would be found."""
    assert len(BLOCKS) == PAGE.count("```yaml") > 15
    with pytest.raises(AssertionError):
        read("inbound: {token_to_app: forwards}\n", tmp_path)


def test_every_metric_and_reason_that_it_names_exists() -> None:
    """Dashboards are made from pages."""
    from sidecar.core.outcome import REASONS_BY_CODE
    from sidecar.telemetry.catalogue import CATALOGUE

    known = {family.name for family in CATALOGUE}
    named = set(re.findall(r"\bsidecar_[a-z_]+", PAGE))
    assert named
    assert named <= known
    for reason in ("attribution_missing", "token_expired"):
        assert reason in PAGE
        assert reason in REASONS_BY_CODE


def test_links_lead_somewhere() -> None:
    """Pages and headings that it refers to are there."""
    headings = {
        re.sub(r"[^a-z -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        page, _, heading = target.partition("#")
        assert (ROOT / "docs" / page).exists() if page else heading in headings, target
