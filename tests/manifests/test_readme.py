"""What the README shows is what there is."""

import re
from pathlib import Path

import pytest

from sidecar.config.load import load
from sidecar.telemetry import catalogue
from sidecar.telemetry.catalogue import Family

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/configuration.md"])
def test_the_configuration_shown_is_accepted(page: str, tmp_path: Path) -> None:
    """A newcomer who copies the example has a file that works."""
    example = re.search(r"```yaml\n(version: 1\n.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert example is not None
    file = tmp_path / "sidecar.yaml"
    file.write_text(example[1])
    assert load([str(file)]).inbound.rules


def test_every_metric_is_listed_with_its_labels() -> None:
    """The table names each family of the catalogue, and no other."""
    families = [each for each in vars(catalogue).values() if isinstance(each, Family)]
    table = README.partition("## Metrics and logs")[2].partition("\n\n## ")[0]
    listed = set(re.findall(r"`(sidecar_[a-z_]+)`", table))
    assert listed == {family.name for family in families}
    for family in families:
        row = next(line for line in table.splitlines() if f"`{family.name}`" in line)
        for label in family.labels:
            assert label in row or family.name == "sidecar_build_info", (family.name, label)


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link names a file of the repository."""
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / page).parent / target).is_file(), target
