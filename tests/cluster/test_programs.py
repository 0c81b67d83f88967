"""Where the programs of this package are looked for."""

from pathlib import Path

import pytest

from tests.cluster import programs
from tests.cluster.programs import HERE, VERSION, Program


def test_what_is_named_goes_before_what_was_made_and_that_before_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program("sh", "SIDECAR_SH", "")
    monkeypatch.setattr(programs, "PREPARED", tmp_path)
    found = program.find({})
    assert found is not None
    assert found.name == "sh"
    assert Program("no-such-program", "X", "").find({}) is None
    (tmp_path / "bin").mkdir()
    made = tmp_path / "bin" / "sh"
    made.touch()
    assert program.find({}) == made
    assert program.find({"SIDECAR_SH": "/elsewhere/sh"}) == Path("/elsewhere/sh")


def test_the_version_is_that_of_the_module() -> None:
    """Built from pinned modules, every one of which has a sum."""
    text = (HERE / "kube_apiserver" / "go.mod").read_text()
    assert f"require k8s.io/kubernetes v{VERSION}" in text
    sums = (HERE / "kube_apiserver" / "go.sum").read_text()
    assert f"k8s.io/kubernetes v{VERSION} h1:" in sums
