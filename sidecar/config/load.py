"""Files and flags to a checked configuration: what the rest of the program calls.

Owns reading the files, within bounds. Whatever the bytes are, the outcome is a ``Config`` or
problems with their places.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidecar.config.flags import Flags, tree_of
from sidecar.config.keys import ADMIN
from sidecar.config.kinds import Invalid
from sidecar.config.merge import merge
from sidecar.config.model import Config
from sidecar.config.parser import parse
from sidecar.config.positions import BrokenNode, MappingNode, compose
from sidecar.config.problems import ConfigError, Findings, Place, Problem
from sidecar.config.reading import Reading
from sidecar.config.watching import digest

MAX_FILE_BYTES: Final = 1 << 20
IN_ENVIRONMENT: Final = "env:"
"""In front of the name of a variable that holds a configuration, where a path is expected."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of reading a configuration. *config* is ``None`` exactly if there are errors."""

    config: Config | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Digests of all regular files that were read, by path (``sidecar.config.watching``)."""


def load(
    paths: Sequence[str], *, flags: Flags | None = None, environ: Mapping[str, str] | None = None
) -> Config:
    """Return the configuration in *paths* and *flags*, merged.

    Raises:
        ConfigError: with every problem found, and the warnings.
    """
    found = examine(paths, flags=flags, environ=environ)
    if found.config is None:
        raise ConfigError(found.errors, found.warnings)
    return found.config


def examine(
    paths: Sequence[str], *, flags: Flags | None = None, environ: Mapping[str, str] | None = None
) -> Examination:
    """Read *paths* (each at most 1 MiB) and *flags*, and say all there is to say.

    A path ``env:NAME`` is not a file: the YAML is in the variable NAME. *environ* is where that is
    looked for, and what ``${NAME}`` refers to; the process's own by default.
    """
    findings = Findings(list(paths))
    environ = os.environ if environ is None else environ
    files: dict[str, bytes] = {}
    trees = [read_tree(path, findings, environ, files) for path in paths]
    if flags is not None:
        trees.append(tree_of(flags, findings))
    config = None
    if (root := merged(trees, findings)) is not None:
        config = parse(root, findings, environ, files)
    errors = findings.errors
    return Examination(None if errors else config, errors, findings.warnings, files)


def control_path(
    paths: Sequence[str], *, environ: Mapping[str, str] | None = None
) -> tuple[str | None, tuple[Problem, ...]]:
    """Return the control socket that the files at *paths* name, and what kept it from being found.

    The rest is not looked at: whoever asks a running sidecar what is wrong may have broken the
    file since it started, or the key file that it names may be gone.
    """
    findings = Findings(list(paths))
    environ = os.environ if environ is None else environ
    root = merged([read_tree(path, findings, environ) for path in paths], findings)
    if root is None or (entry := root.entries.get("admin")) is None:
        return None, findings.errors
    reading = Reading(findings, environ)
    admin = ADMIN.read(entry.value, "admin", reading)
    return None if isinstance(admin, Invalid) else admin.control, findings.errors


def merged(trees: Sequence[MappingNode | None], findings: Findings) -> MappingNode | None:
    """Return one tree, or nothing if a part is missing: what is left would look incomplete."""
    root: MappingNode | None = None
    for tree in trees:
        if tree is None:
            return None
        root = tree if root is None else merge(root, tree, findings)
    return root


def read_tree(
    path: str,
    findings: Findings,
    environ: Mapping[str, str] | None = None,
    files: dict[str, bytes] | None = None,
) -> MappingNode | None:
    """Return the map in the file at *path*, or nothing once *findings* says why.

    ``env:NAME`` is a variable of *environ*; *files* is given the digest of a file.
    """
    if environ is not None and path.startswith(IN_ENVIRONMENT):
        content = _variable(path, findings, environ)
    else:
        content = _read(path, findings, {} if files is None else files)
    if content is None:
        return None
    return tree_in(content, path, findings)


def tree_in(content: bytes, path: str, findings: Findings) -> MappingNode | None:
    """Return the map in *content*, which *path* names, or nothing once *findings* says why."""
    if len(content) > MAX_FILE_BYTES:
        findings.error(Place(path), "", f"is larger than {MAX_FILE_BYTES // 1024}KiB")
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        findings.error(Place(path, line, column), "", "is not UTF-8")
        return None
    root = compose(text, path, findings)
    match root:
        case None | BrokenNode() | MappingNode():
            return root if isinstance(root, MappingNode) else None
        case _:
            message = "must be a map of keys such as `version: 1`"
            findings.error(root.place, "", message)
            return None


def _variable(path: str, findings: Findings, environ: Mapping[str, str]) -> bytes | None:
    name = path.removeprefix(IN_ENVIRONMENT)
    text = environ.get(name)
    if text is None:
        message = "is an environment variable that is not set" if name else "names no variable"
        findings.error(Place(path), "", message)
        return None
    return text.encode("utf-8", "surrogateescape")


def _read(path: str, findings: Findings, files: dict[str, bytes]) -> bytes | None:
    files[path] = b""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                files[path] = digest(content)
            else:  # a pipe is read once
                del files[path]
    except OSError as error:
        findings.error(Place(path), "", f"cannot be read: {error.strerror}")
        return None
    except ValueError:
        findings.error(Place(path), "", "is not a path")
        return None
    return content
