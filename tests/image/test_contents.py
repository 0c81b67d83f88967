"""What is in the image's root, and what is not."""

import json
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.image.assemble import SBOM
from tests.image.container import Image

ROOT = Path(__file__).parents[2]
BOUND_MIB = 100
"""Over it, something came along that nobody chose."""
RUN_TIME = re.compile(r"(?s)# At run time\.\n(.*?)\n\n")


def everything(image: Image) -> Iterator[tuple[Path, Any]]:
    for path in image.root.rglob("*"):
        yield path.relative_to(image.root), path.lstat()


def test_the_only_programs_are_python_and_the_sidecar(image: Image) -> None:
    """No shell, no compiler, no package manager: what an intruder finds is what we run."""
    programs = {
        str(path)
        for path, found in everything(image)
        if stat.S_ISREG(found.st_mode)
        and found.st_mode & 0o111
        and not re.search(r"\.so(\.|$)", path.name)
    }
    assert programs == {"opt/sidecar/bin/sidecar", "usr/bin/python3.13"}


@pytest.mark.parametrize("name", ["pip", "setuptools", "ensurepip", "mypy", "mypyc", "pytest"])
def test_nothing_there_installs_or_tests(image: Image, name: str) -> None:
    """What was needed to build stayed where it was built."""
    assert [*image.root.rglob(name), *image.root.rglob(f"{name}-*")] == []


def test_everything_is_roots_and_only_root_may_write(image: Image) -> None:
    """Whoever gets hold of the process can change nothing, and gain nothing from a file's mode."""
    wrong = [
        str(path)
        for path, found in everything(image)
        if not stat.S_ISLNK(found.st_mode)
        and (found.st_uid or found.st_gid or found.st_mode & (0o022 | stat.S_ISUID | stat.S_ISGID))
    ]
    assert wrong == []


def test_every_link_leads_somewhere(image: Image) -> None:
    """A link to a file that was not copied would be found out by a crash, some day."""
    for path, found in everything(image):
        if stat.S_ISLNK(found.st_mode):
            target = Path("/", path).parent / (image.root / path).readlink()
            assert (image.root / str(target).lstrip("/")).exists(), path


def test_all_bytecode_is_there_and_never_checked(image: Image) -> None:
    """Nothing can be written at run time; a layer's file times say nothing of a source."""
    sources = [path for path in image.root.rglob("*.py") if "carriers" not in path.parts]
    assert len(sources) > 500
    for source in sources:
        (compiled,) = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")
        with compiled.open("rb") as file:
            assert file.read(8)[4:] == b"\x01\x00\x00\x00", source


def test_it_is_small(image: Image) -> None:
    """The bound, and what docs/image.md says it is."""
    files = {
        (found.st_dev, found.st_ino): found.st_size
        for _, found in everything(image)
        if stat.S_ISREG(found.st_mode)
    }
    size = sum(files.values()) / 2**20
    assert size < BOUND_MIB
    told = re.search(r"\*\*(\d+) MiB\*\*", (ROOT / "docs/image.md").read_text())
    assert told
    assert int(told[1]) == pytest.approx(size, rel=0.1)


def test_the_labels_speak_of_this_version(image: Image) -> None:
    """The version is told in one place; the image says it without being started."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.title"] == project["name"]
    assert labels["org.opencontainers.image.description"] == project["description"]


def test_the_carrier_stands_at_a_fixed_path(image: Image) -> None:
    """For whoever mounts the image into an app's container."""
    tree = ROOT / "sidecar/carriers/python"
    for source in tree.rglob("*.py"):
        copy = image.root / "carriers/python" / source.relative_to(tree)
        assert copy.read_bytes() == source.read_bytes()


# --- the list of what is there ---


@pytest.fixture
def sbom(image: Image) -> dict[str, Any]:
    """The document in the image."""
    document: dict[str, Any] = json.loads((image.root / str(SBOM).lstrip("/")).read_text())
    return document


def versions(sbom: dict[str, Any], kind: str) -> dict[str, str]:
    return {
        one["name"]: one["version"]
        for one in sbom["components"]
        if one["purl"].startswith(f"pkg:{kind}/")
    }


def test_the_list_is_cyclonedx(sbom: dict[str, Any]) -> None:
    """The fields that the format demands; each component once."""
    assert (sbom["bomFormat"], sbom["specVersion"], sbom["version"]) == ("CycloneDX", "1.6", 1)
    references = [one["bom-ref"] for one in sbom["components"]]
    assert len(references) == len(set(references)) > 30
    for one in sbom["components"]:
        assert one["type"] == "library"
        assert re.fullmatch(r"pkg:(pypi|deb/debian|generic)/[^@]+@[^@]+", one["purl"])


def test_it_lists_each_distribution_that_is_there(image: Image, sbom: dict[str, Any]) -> None:
    """By the directories of their metadata, which constraints.txt names in the same versions."""
    there = {}
    for metadata in image.root.glob("opt/sidecar/lib/python3.*/site-packages/*.dist-info"):
        name, version = metadata.name.removesuffix(".dist-info").split("-")
        there[re.sub(r"[-_.]+", "-", name).lower()] = version
    assert versions(sbom, "pypi") == there
    pinned = RUN_TIME.search((ROOT / "constraints.txt").read_text())
    assert pinned
    pins = dict(line.split("==") for line in pinned[1].splitlines())
    del there["jwt-sidecar"]
    assert there.items() <= pins.items()


def test_it_lists_each_package_that_a_library_is_of(image: Image, sbom: dict[str, Any]) -> None:
    """As dpkg's list has them, with the licence of each; those that must be there are."""
    status = (image.root / "var/lib/dpkg/status").read_text()
    listed = dict(re.findall(r"(?m)^Package: (\S+)\n(?:.*\n)*?Version: (\S+)$", status))
    assert versions(sbom, "deb") == listed
    assert listed.keys() >= {"libc6", "libssl3t64", "libpython3.13-stdlib", "ca-certificates"}
    assert not listed.keys() & {"apt", "dpkg", "bash", "dash", "perl-base", "coreutils", "gcc"}
    for name in listed:
        assert (image.root / "usr/share/doc" / name / "copyright").is_file(), name


def test_it_lists_what_wheels_bring_along(sbom: dict[str, Any]) -> None:
    """An advisory for OpenSSL concerns the one in cryptography's wheel too."""
    assert versions(sbom, "generic").keys() == {"openssl", "libuv", "libyaml"}
