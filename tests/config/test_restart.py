"""What cannot change while the process runs is named, here and in the documentation."""

from dataclasses import replace
from pathlib import Path

from sidecar.config.load import examine
from sidecar.config.model import Address
from sidecar.config.restart import fixed_keys, needs_restart

ROOT = Path(__file__).parents[2]


def test_the_documentation_lists_them() -> None:
    """Whoever reads about reloads knows what to expect."""
    text = (ROOT / "docs" / "configuration.md").read_text().partition("## Reload")[2]
    section = text.partition("## Keys")[0]
    for key in fixed_keys():
        assert f"`{key}`" in section


def test_what_differs(tmp_path: Path) -> None:
    """Every such key that differs, and none that does not."""
    (tmp_path / "c.yaml").write_text(
        "version: 1\ninbound: {app: 'http://127.0.0.1:1', rules: [{paths: [/a], allow: anyone}]}\n"
    )
    config = examine([str(tmp_path / "c.yaml")]).config
    assert config is not None
    assert needs_restart(config, config) == ()
    changed = replace(
        config,
        admin=replace(config.admin, listen=Address("127.0.0.1", 1)),
        attribution=replace(config.attribution, exclusive_wait_seconds=1.0, max_age_seconds=1.0),
    )
    assert needs_restart(config, changed) == ("admin.listen", "attribution.exclusive_wait")
