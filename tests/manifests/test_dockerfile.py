"""Facts of the image that can be read off the Dockerfile; tests/image looks at what it makes."""

import json
import re
from pathlib import Path

import pytest

from deploy.image.context import Context
from deploy.image.dockerfile import Instruction, parse

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dockerfile() -> list[Instruction]:
    """The Dockerfile's instructions in order."""
    return parse((ROOT / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def image(dockerfile: list[Instruction]) -> dict[str, list[str]]:
    """The last stage, which is what runs: values by keyword."""
    last = dockerfile[-1].stage
    values: dict[str, list[str]] = {}
    for instruction in dockerfile:
        if instruction.stage == last:
            values.setdefault(instruction.keyword, []).append(instruction.value)
    return values


def test_the_process_is_the_sidecar_itself(image: dict[str, list[str]]) -> None:
    """Exec form: no shell is process 1, so SIGTERM reaches the program."""
    assert [json.loads(value) for value in image["ENTRYPOINT"]] == [["sidecar"]]
    (command,) = (json.loads(value) for value in image["CMD"])
    assert command == ["run", "--config", "/etc/sidecar/config.yaml"]
    assert image["STOPSIGNAL"] == ["SIGTERM"]


def test_the_user_is_a_number_other_than_root(image: dict[str, list[str]]) -> None:
    """Kubernetes can check ``runAsNonRoot`` only against a number."""
    (user,) = image["USER"]
    assert re.fullmatch(r"[1-9][0-9]{3,}:[1-9][0-9]{3,}", user)


def test_the_image_is_one_layer_of_chosen_files(image: dict[str, list[str]]) -> None:
    """It starts from nothing, and nothing runs in it: there is no shell that could."""
    assert image["FROM"] == ["scratch"]
    assert image["COPY"] == ["--from=build /image /"]
    assert "RUN" not in image


def test_the_wheel_is_compiled_and_security_updates_are_in(dockerfile: list[Instruction]) -> None:
    """The libraries of the image are those of the first stage, whatever the base's age."""
    runs = [one.value for one in dockerfile if one.keyword == "RUN" and one.stage == 0]
    (wheel,) = (run for run in runs if "pip wheel" in run)
    assert wheel.startswith("SIDECAR_COMPILE=1 ")
    assert "apt-get upgrade --yes" in runs[0]


def test_installing_obeys_the_constraints(dockerfile: list[Instruction]) -> None:
    """Dependencies come in exact versions and as wheels; the package itself brings none."""
    installs = [
        part
        for one in dockerfile
        if one.keyword == "RUN"
        for part in one.value.split("&&")
        if "-m pip" in part and " install " in part
    ]
    assert installs
    for install in installs:
        pinned = "--constraint constraints.txt" in install and "--only-binary :all:" in install
        assert pinned or "--no-deps" in install


def test_what_is_copied_is_in_the_context_and_nothing_else_is(
    dockerfile: list[Instruction],
) -> None:
    """.dockerignore lets through what the build needs, and nothing else of the tree."""
    context = Context(ROOT)
    copied = {
        source
        for one in dockerfile
        if one.keyword == "COPY" and not one.value.startswith("--from")
        for source in one.value.split()[:-1]
    }
    assert all([*context.files(source)] for source in copied)
    top = {path.name for path in ROOT.iterdir() if path.is_file() and context.holds(path.name)}
    assert top == {source for source in copied if (ROOT / source).is_file()}
    for kept_out in (".git/config", ".venv/bin/python", "tests/conftest.py", "sidecar/x.pyc"):
        assert not context.holds(kept_out)


def test_no_bytecode_is_written_at_run_time(image: dict[str, list[str]]) -> None:
    """The root file system may be read-only; everything was compiled when the image was built."""
    assert "PYTHONDONTWRITEBYTECODE=1" in image["ENV"][0].split()
