"""docs/kubernetes.md and docs/alerts.md name things that are there."""

import re
from pathlib import Path

import pytest

from sidecar.core.outcome import REASONS_BY_CODE
from sidecar.kubernetes import names
from sidecar.kubernetes.annotations import ANNOTATIONS
from tests.support.manifests import K8S

ROOT = K8S.parents[1]
PAGES = ("README.md", "docs/kubernetes.md", "docs/alerts.md")
_LABELS = {"injection", "inject", "status", "version", "port"}


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES)
def test_annotations_and_labels(page: str) -> None:
    """Each `jwt-sidecar/…` is an annotation of the table, or a label."""
    known = {each.name for each in ANNOTATIONS} | _LABELS
    text = (ROOT / page).read_text()
    assert set(re.findall(r"(?<![\w/])jwt-sidecar/([a-z-]*[a-z])", text)) <= known


@pytest.mark.parametrize("page", PAGES)
def test_paths(page: str) -> None:
    """Each directory or file of deploy/k8s exists, and each link to a heading finds it."""
    text = (ROOT / page).read_text()
    for path in re.findall(r"deploy/k8s(/[\w./-]*)?", text):
        assert (K8S / path.strip("/").rstrip(".")).exists(), path
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text):
        other = (ROOT / page).parent / target if target else ROOT / page
        assert anchor in anchors(other), (target, anchor)


@pytest.mark.parametrize("page", PAGES)
def test_reasons(page: str) -> None:
    """Each reason that a command asks for, or an answer shows, is one."""
    text = (ROOT / page).read_text()
    found = re.findall(r"--reason ([a-z_]+)|x-sidecar-reason: ([a-z_]+)", text)
    assert {code for pair in found for code in pair if code} <= set(REASONS_BY_CODE)


def test_names() -> None:
    """Container, socket and ports are those of the patch."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    assert set(re.findall(r"kubectl (?:exec|logs) [^`\n]*-c ([\w-]+)", text)) == {names.CONTAINER}
    assert set(re.findall(r"--control (/\S+?)[\s`]", text)) == {names.CONTROL_SOCKET}
    assert f"`{names.CARRIER}`" in text
