"""docs/rehearsing-rules.md is held to what the commands print."""

import re
from pathlib import Path

import pytest

from sidecar.config.load import load
from sidecar.telemetry.decision_settings import readings
from tests.rehearsal.conftest import rules

PAGE = Path(__file__).parents[2] / "docs" / "rehearsing-rules.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
CONSOLE = [text for kind, text in BLOCKS if kind == "console"]
STRICT = "require: {claims: {sub: {segment: id}, tenant: {equals: north}}}"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The files of the page in a directory."""
    configuration, expectations = [text for kind, text in BLOCKS if kind == "yaml"][:2]
    (tmp_path / "sidecar.yaml").write_text(configuration)
    new = configuration.replace(", mode: observe", "").replace("require: authenticated", STRICT)
    (tmp_path / "new.yaml").write_text(new)
    (tmp_path / "rules.test.yaml").write_text(expectations)
    (tmp_path / "decisions.jsonl").write_text([text for kind, text in BLOCKS if kind == "json"][1])
    return tmp_path


@pytest.mark.parametrize("console", CONSOLE, ids=["test", "replay", "report"])
def test_what_the_page_shows_is_what_is_printed(example: Path, console: str) -> None:
    """Commands and output stand there as they are."""
    command, _, output = console.partition("\n")
    done = rules(example, *command.split()[3:])
    assert (done.stdout, done.stderr) == (output, "")


def test_the_records_of_the_page_are_of_its_configuration(example: Path) -> None:
    """Otherwise nothing could be said of their scopes."""
    config = load([str(example / "sidecar.yaml")], environ={})
    assert PAGE.read_text().count(f'"read_as":"{readings(config)["shop"]}"') == 4
