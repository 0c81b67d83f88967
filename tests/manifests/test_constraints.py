"""constraints.txt against pyproject.toml and against what is installed here."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.needs import needs_module

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    """Each pinned project with its version. Fails on a line that is anything but ``name==1.2``."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        matched = re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)", line)
        assert matched, f"not an exact version: {line}"
        found[matched[1]] = matched[2]
    return found


def declared(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def test_every_declared_dependency_has_a_version_that_it_allows(pins: dict[str, str]) -> None:
    """What is tested lies within what the package says it works with."""
    for requirement in declared("dev", "apps"):
        version = pins[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, requirement


@pytest.mark.parametrize("extra", ["dev", "apps"])
def test_dependencies_of_dependencies_are_pinned_as_installed(
    pins: dict[str, str], extra: str
) -> None:
    """Nothing that came along unnamed may differ from one install to the next."""
    waiting, installed = declared(extra), {}
    if extra == "apps":
        needs_module("flask")
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in installed:
            continue
        distribution = importlib.metadata.distribution(name)
        installed[name] = distribution.version
        waiting += [
            nested
            for nested in map(Requirement, distribution.requires or ())
            if applies(nested, requirement.extras)
        ]
    assert installed == {name: pins.get(name) for name in installed}


def applies(requirement: Requirement, extras: set[str]) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": extra}) for extra in extras | {""})
