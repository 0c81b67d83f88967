"""setup.py's list of what is compiled, and whether the tests run what was built."""

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.core.build import COMPILED

ROOT = Path(__file__).parents[2]


def test_every_module_beside_a_compiled_one_is_listed_once() -> None:
    """A new module of the forwarding path is compiled, or there is a reason why not."""
    setuptools = pytest.importorskip("setuptools")
    assert setuptools
    lists = runpy.run_path(str(ROOT / "setup.py"))
    listed = [*lists["COMPILED"], *lists["INTERPRETED"]]
    packages = {str(Path(module).parent) for module in listed}
    there = {
        str(module.relative_to(ROOT))
        for package in packages
        for module in (ROOT / package).glob("*.py")
        if module.name != "__init__.py"
    }
    assert sorted(listed) == sorted(there)
    assert all(lists["INTERPRETED"].values())


def test_the_tree_holds_no_library() -> None:
    """An interpreted run there would find it, and see no change of a source file any more."""
    assert [*ROOT.glob("*.so"), *(ROOT / "sidecar").rglob("*.so")] == []


def test_what_is_tested_is_what_was_built() -> None:
    """Here and in every process that a test starts: never the tree in the library's stead."""
    built = importlib.util.find_spec("sidecar__mypyc") is not None
    assert built == COMPILED
    code = "from sidecar.core.build import COMPILED; print(COMPILED)"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout == f"{COMPILED}\n"
