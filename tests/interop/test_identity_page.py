"""``docs/identity.md`` shows what runs: its configuration, its Java, its Python."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from sidecar.config.load import load
from sidecar.config.model import Identity, SignedHeader
from tests.interop.programs import HERE
from tests.support.http import fetch
from tests.support.pod import pod

PAGE = (HERE.parents[1] / "docs" / "identity.md").read_text()


def listings(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def test_the_configuration_is_accepted(tmp_path: Path) -> None:
    """As it stands, below an issuer."""
    (text,) = listings("yaml")
    issuer = 'version: 1\nissuers: {a: {issuer: "https://a.example", audiences: [x]}}\n'
    file = tmp_path / "sidecar.yaml"
    file.write_text(issuer + text)
    identity = load([str(file)]).inbound.identity
    assert len(identity.headers) == 4
    assert identity.signed == SignedHeader("user-service")


def test_the_java_is_that_of_the_service() -> None:
    """Each listing stands in a source file of the service that the tests run."""
    sources = [
        squeezed(path.read_text())
        for path in (HERE / "spring_service" / "src" / "main" / "java" / "shop").iterdir()
    ]
    shown = listings("java")
    assert len(shown) == 3
    for listing in shown:
        assert any(squeezed(listing) in source for source in sources), listing


async def test_the_python_checks_what_is_signed(tmp_path: Path) -> None:
    """Against a running sidecar, and refuses what another has signed."""
    (text,) = listings("python")
    identity = Identity(signed=SignedHeader("user-service"))
    seen: list[tuple[str, Callable[[str], str]]] = []
    for name in ("one", "other"):
        directory = tmp_path / name
        directory.mkdir()
        async with pod(directory, inbound={"identity": identity}) as running:
            token = running.mint.token("alice")
            assert (await fetch(running.bound.inbound, "/users/a", bearer=token)).status == 200
            (assertion,) = running.app.received[0].values("x-auth-assertion")
            names: dict[str, Callable[[str], str]] = {}
            exec(text.replace("127.0.0.1:15490", str(running.bound.admin)), names)
            caller = names["caller"]
            assert await asyncio.to_thread(caller, assertion) == "alice"
            seen.append((assertion, caller))
            for wrong in (token, seen[0][0] if name == "other" else assertion[:-8] + "AAAAAAAA"):
                with pytest.raises(jwt.PyJWTError):
                    await asyncio.to_thread(caller, wrong)
