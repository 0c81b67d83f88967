"""Facts of the image that can be read off the Dockerfile. Building it takes a Docker daemon."""

import fnmatch
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Instruction:
    """One instruction with its continuation lines joined; *stage* counts from 0."""

    stage: int
    keyword: str
    value: str


def parse(text: str) -> list[Instruction]:
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    instructions: list[Instruction] = []
    stage = -1
    for line in filter(str.strip, code.replace("\\\n", " ").splitlines()):
        keyword, _, value = line.strip().partition(" ")
        stage += keyword == "FROM"
        instructions.append(Instruction(stage, keyword, value.strip()))
    return instructions


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


def test_nothing_is_installed_where_it_runs(dockerfile: list[Instruction]) -> None:
    """pip works in the first stage only; in the last one it is removed with its bundled copy."""
    last = dockerfile[-1].stage
    runs = [one.value for one in dockerfile if one.keyword == "RUN" and one.stage == last]
    assert last == 1
    assert not any("pip install" in run or "apt-get" in run for run in runs)
    assert "site-packages/pip* /usr/local/bin/pip*" in runs[0]
    assert "/ensurepip" in runs[0]


def test_the_wheel_is_compiled_and_the_compiler_stays_behind(dockerfile: list[Instruction]) -> None:
    """What is faster in the image is made in the first stage, which needs a C compiler for it."""
    runs = {
        stage: [one.value for one in dockerfile if one.keyword == "RUN" and one.stage == stage]
        for stage in (0, 1)
    }
    (wheel,) = (run for run in runs[0] if "pip wheel" in run)
    assert wheel.startswith("SIDECAR_COMPILE=1 ")
    assert any("apt-get install" in run and " gcc " in run for run in runs[0])
    assert not any("gcc" in run for run in runs[1])


def test_both_stages_have_the_same_interpreter(dockerfile: list[Instruction]) -> None:
    """The environment copied over points at the interpreter of the base image."""
    bases = {one.value.split()[0] for one in dockerfile if one.keyword == "FROM"}
    (base,) = bases
    version = re.fullmatch(r"python:(3\.\d+)-slim", base)
    assert version
    paths = re.findall(r"/usr/local/lib/python([\d.]+\d)", "\n".join(i.value for i in dockerfile))
    assert set(paths) == {version[1]}


def test_installing_obeys_the_constraints(dockerfile: list[Instruction]) -> None:
    """Dependencies come in exact versions and as wheels; the package itself brings none."""
    installs = [
        part
        for one in dockerfile
        if one.keyword == "RUN"
        for part in one.value.split("&&")
        if "pip" in part and " install " in part
    ]
    assert installs
    for install in installs:
        pinned = "--constraint constraints.txt" in install and "--only-binary :all:" in install
        assert pinned or "--no-deps" in install


def test_what_is_copied_exists_and_is_in_the_context(dockerfile: list[Instruction]) -> None:
    """.dockerignore lets through what the build needs, and nothing else of the tree."""
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignore[1] == "*"
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    copied = {
        source
        for one in dockerfile
        if one.keyword == "COPY" and not one.value.startswith("--from")
        for source in one.value.split()[:-1]
    }
    assert {source.split("/")[0] for source in copied} == allowed
    missing = [source for source in copied if not (ROOT / source).exists()]
    assert missing == []


def test_the_carriers_stand_at_a_fixed_path(image: dict[str, list[str]]) -> None:
    """An init container copies them from there, whatever Python the image has."""
    assert "sidecar/carriers/python /carriers/python" in image["COPY"]
    assert any(fnmatch.filter(map(str, (ROOT / "sidecar/carriers/python").iterdir()), "*.py"))


def test_no_bytecode_is_written_at_run_time(image: dict[str, list[str]]) -> None:
    """The root file system may be read-only; everything was compiled when the image was built."""
    assert "PYTHONDONTWRITEBYTECODE=1" in image["ENV"][0].split()
    assert "compileall" in image["RUN"][0]
