"""``docs/interop.md`` says what was run, and what it says to write is what runs."""

import json
import re
from pathlib import Path

import pytest

from sidecar.config.load import load
from tests.interop.guard import DOCUMENT
from tests.interop.keycloak_server import REALM_FILE
from tests.interop.programs import PROGRAMS, Program

PAGE = DOCUMENT.read_text()
CONFIGURATIONS = dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_versions_are_those_that_run(program: Program) -> None:
    """A version that changes here changes there."""
    assert program.version in PAGE.partition("\n## ")[0]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations_are_accepted_as_they_stand(name: str, tmp_path: Path) -> None:
    """Also with the addresses that the tests replace."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(CONFIGURATIONS[name])
    assert load([str(file)]).inbound.rules


def test_the_mapper_is_that_of_the_realm() -> None:
    """What the page shows is in the file that is imported."""
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    clients = json.loads(REALM_FILE.read_text())["clients"]
    mappers = {client["clientId"]: client.get("protocolMappers", []) for client in clients}
    assert mappers["shop-web"] == [json.loads(shown)]
