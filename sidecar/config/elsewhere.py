"""A configuration examined on another machine than the one it is for.

``${NAME}`` and ``file:PATH`` stand for themselves, and no file is looked at. Everything else is
checked as it is where the sidecar runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.config.load import merged, tree_in
from sidecar.config.model import Config
from sidecar.config.parser import read
from sidecar.config.positions import MappingNode
from sidecar.config.problems import Findings, Problem
from sidecar.config.reading import Draft, Reading


@dataclass(frozen=True, slots=True)
class RemoteExamination:
    """What can be said from afar."""

    config: Config | None
    """``None`` where there are errors, or where a reference stood in for what had to be known."""
    draft: Draft
    """What the sections left behind: there even where *config* is ``None``."""
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def examine_texts(
    texts: Sequence[tuple[str, bytes]], *, trees: Sequence[tuple[str, MappingNode]] = ()
) -> RemoteExamination:
    """Say all there is to say of *texts* and *trees*, each with its name, merged."""
    findings = Findings([name for name, _ in (*texts, *trees)])
    parts = [tree_in(content, name, findings) for name, content in texts]
    reading = Reading(findings, {}, is_elsewhere=True)
    config = None
    if (root := merged([*parts, *(tree for _, tree in trees)], findings)) is not None:
        config = read(root, reading)
    errors = findings.errors
    return RemoteExamination(None if errors else config, reading.draft, errors, findings.warnings)
