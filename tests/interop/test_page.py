"""``docs/interop.md`` says what was run, and what it says to write is what runs."""

import json
import re
from pathlib import Path

import pytest

from sidecar.config.elsewhere import examine_texts
from sidecar.config.load import load
from tests.interop.exchanging import DOCUMENT as EXCHANGE_PAGE
from tests.interop.guard import DOCUMENT
from tests.interop.keycloak_server import REALM_FILE
from tests.interop.programs import PROGRAMS, Program

PAGE = DOCUMENT.read_text()
CONFIGURATIONS = dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
EXCHANGES = dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", EXCHANGE_PAGE.read_text(), re.DOTALL))


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


@pytest.mark.parametrize("name", EXCHANGES)
def test_exchanges_are_accepted_as_they_stand(name: str) -> None:
    """Each server's lines in docs/token-exchange.md are right, run against it or not."""
    found = examine_texts([(name, EXCHANGES[name].encode())])
    assert found.errors == ()
    assert found.draft.destinations[0].value.token_request is not None


def test_what_was_run_is_said() -> None:
    """The servers that the tests here ask for tokens are the ones that the page says were run."""
    page = EXCHANGE_PAGE.read_text()
    rows = re.findall(r"^\| ([^|]+) \|.*\| (yes|no) \|$", page, re.MULTILINE)
    run = [server for server, was_run in rows if was_run == "yes"]
    assert run == ["Keycloak", "Spring Authorization Server", "npm `oidc-provider`"]
    for server in (server for server, was_run in rows if was_run == "no"):
        (section,) = re.findall(rf"^## {server}\b.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        assert "Not run against the vendor" in section


def test_the_mapper_is_that_of_the_realm() -> None:
    """What the page shows is in the file that is imported."""
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    clients = json.loads(REALM_FILE.read_text())["clients"]
    mappers = {client["clientId"]: client.get("protocolMappers", []) for client in clients}
    assert mappers["shop-web"] == [json.loads(shown)]
