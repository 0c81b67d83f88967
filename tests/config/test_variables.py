"""A configuration in a variable of the environment, where a path is expected."""

from pathlib import Path

import pytest

from sidecar.config.load import MAX_FILE_BYTES, control_path, examine

RULES = "rules: [{paths: [/a], allow: anyone}]"


def test_beside_a_file(tmp_path: Path) -> None:
    """Both merge, as two files do; only the file is one that can change."""
    path = tmp_path / "config.yaml"
    path.write_text(f"version: 1\ninbound: {{{RULES}}}\n")
    environ = {"POD": "inbound: {app: 'http://127.0.0.1:81'}\nadmin: {control: 'unix:c.sock'}\n"}
    found = examine([str(path), "env:POD"], environ=environ)
    assert found.config is not None
    assert found.config.inbound.app.port == 81
    assert found.config.admin.control == "c.sock"
    assert list(found.files) == [str(path)]
    assert control_path([str(path), "env:POD"], environ=environ) == ("c.sock", ())


@pytest.mark.parametrize(
    ("environ", "argument", "problem"),
    [
        ({}, "env:POD", "env:POD: is an environment variable that is not set"),
        ({}, "env:", "env:: names no variable"),
        ({"POD": "version: 1\ninbond: {}"}, "env:POD", "env:POD:2:1: inbond: unknown key"),
        ({"POD": "a: ["}, "env:POD", "env:POD:1:5: "),
        ({"POD": "#" * (MAX_FILE_BYTES + 1)}, "env:POD", "env:POD: is larger than 1024KiB"),
    ],
)
def test_what_is_wrong(environ: dict[str, str], argument: str, problem: str) -> None:
    """Problems have their place in the variable."""
    found = examine([argument], environ=environ)
    assert found.config is None
    assert str(found.errors[0]).startswith(problem)


def test_the_same_value_twice(tmp_path: Path) -> None:
    """Neither overrides the other, and both places are named."""
    path = tmp_path / "config.yaml"
    path.write_text(f"version: 1\ninbound: {{app: 'http://127.0.0.1:80', {RULES}}}\n")
    environ = {"POD": "inbound: {app: 'http://127.0.0.1:81'}"}
    (problem,) = examine([str(path), "env:POD"], environ=environ).errors
    assert "env:POD:1:" in str(problem)
    assert f"{path}:2:" in str(problem)
