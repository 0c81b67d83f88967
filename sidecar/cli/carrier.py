"""``sidecar carrier``: what an app loads so that its calls can be attributed."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import sidecar

if TYPE_CHECKING:
    from sidecar.config.model import Config

FINDING = 1
_CARRIERS = Path(sidecar.__file__).parent / "carriers"

_ENV_EPILOG = """\b
Examples:
  env $(sidecar carrier env python) python app.py
  env $(sidecar carrier env python --config sidecar.yaml) gunicorn app:app
\b
Standard output has nothing but the variables; what a person should know is on standard error.
Exit codes: 0 printed, 1 the configuration has problems.
"""

_INSTALL_EPILOG = """\b
Example, in an init container that shares a volume with the app:
  sidecar carrier install /carriers
and in the app's container, where the volume may be read-only:
  PYTHONPATH=/carriers/python
\b
Each version has a directory of its own, and `python` points to one of them: an app that is
running keeps the version it started with. Directories that no app uses may be removed.
"""


@click.group("carrier", short_help="Load the carrier into an app.")
def command() -> None:
    """Load the carrier into an app, without a change to its code."""


@command.command("env", epilog=_ENV_EPILOG)
@click.argument("runtime", type=click.Choice(["python"]))
@click.option(
    "--config",
    "-c",
    "paths",
    multiple=True,
    metavar="FILE",
    help="Also print SIDECAR_TARGETS: only calls to this configuration's listeners get a handle.",
)
@click.option(
    "--grade",
    type=click.Choice(["strict", "standard"]),
    default="strict",
    show_default=True,
    help="How far a handle goes; docs/attribution.md says what each one risks.",
)
@click.pass_context
def env(ctx: click.Context, runtime: str, paths: tuple[str, ...], grade: str) -> None:  # fmt: skip
    """Print the environment variables that make an app on this machine load the carrier."""
    directory = str(_CARRIERS / runtime)
    inherited = os.environ.get("PYTHONPATH", "")
    variables = {
        "PYTHONPATH": os.pathsep.join(filter(None, (directory, inherited))),
        "SIDECAR_CARRIER": f"grade={grade}",
    }
    remarks: list[str] = []
    if paths:
        config = _read(ctx, paths)
        if targets := ",".join(_targets(config)):
            variables["SIDECAR_TARGETS"] = targets
        remarks += _remarks(config, grade)
    for name, value in variables.items():
        click.echo(f"{name}={value}")
        if len(value.split()) > 1:
            remarks.append(f"{name} contains a space, where `env $(...)` would split it")
    for remark in remarks:
        click.echo(f"sidecar: {remark}", err=True)


def _read(ctx: click.Context, paths: tuple[str, ...]) -> "Config":
    from sidecar.cli.reporting import counted, show
    from sidecar.config.load import examine

    found = examine(paths)
    if found.config is None:
        show((*found.errors, *found.warnings), err=True)
        click.echo(f"{counted(len(found.errors), 'problem')} found", err=True)
        ctx.exit(FINDING)
    return found.config


def _targets(config: "Config") -> Iterator[str]:
    for destination in config.outbound.destinations.values():
        if destination.listen.port:
            yield str(destination.listen)


def _remarks(config: "Config", grade: str) -> Iterator[str]:
    destinations = config.outbound.destinations.values()
    if not any(_targets(config)):
        yield "no listener with a known port: every plain-HTTP call to loopback gets the handle"
    for each in destinations:
        if not each.listen.port:
            yield f"{each.name} listens on a port that is not known yet: not in SIDECAR_TARGETS"
        if grade == "standard" and each.min_assurance == "strict":
            yield f"{each.name} demands `min_assurance: strict`: it will refuse grade=standard"


@command.command("install", epilog=_INSTALL_EPILOG)
@click.argument("directory")
@click.pass_context
def install(ctx: click.Context, directory: str) -> None:
    """Copy the carriers to DIRECTORY, one directory for each runtime."""
    target = Path(directory) / "python"
    try:
        _install(_CARRIERS / "python", target)
    except (OSError, ValueError) as error:
        click.echo(f"sidecar: cannot install to {target}: {_cause(error)}", err=True)
        ctx.exit(FINDING)
    click.echo(f"installed; the app needs PYTHONPATH={target}")


_NOT_COPIED: Final = shutil.ignore_patterns("__pycache__")
_DIRECTORY_MODE: Final = 0o755
_FILE_MODE: Final = 0o644
"""The app seldom runs as the user who installs, whatever that one's umask."""


def _install(source: Path, target: Path) -> None:
    """Make *target* a link to a whole copy of *source*, in one step.

    Nothing is written if it is that already, so a read-only volume may be installed to again.
    """
    home = target.with_name(f".{target.name}-{_digest(source)}")
    if target.is_symlink() and target.readlink() == Path(home.name) and home.is_dir():
        return
    _make_directory(target.parent)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        if not home.is_dir():
            _rename(_copy(source, Path(scratch) / "copy"), home)
        link = Path(scratch) / "link"
        link.symlink_to(home.name)
        if target.is_dir() and not target.is_symlink():  # no link can replace a directory
            target.rename(Path(scratch) / "replaced")
        link.replace(target)


def _make_directory(path: Path) -> None:
    """Make *path* unless it is there; one that is there keeps its mode."""
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        each.chmod(_DIRECTORY_MODE)


def _digest(source: Path) -> str:
    content = hashlib.sha256()
    for file in sorted(source.rglob("*.py")):
        content.update(f"{file.relative_to(source)}\0".encode())
        content.update(hashlib.sha256(file.read_bytes()).digest())
    return content.hexdigest()[:16]


def _copy(source: Path, copy: Path) -> Path:
    shutil.copytree(source, copy, ignore=_NOT_COPIED)
    for path in (copy, *copy.rglob("*")):
        path.chmod(_DIRECTORY_MODE if path.is_dir() else _FILE_MODE)
    return copy


def _rename(copy: Path, home: Path) -> None:
    try:
        copy.rename(home)
    except OSError:
        if not home.is_dir():  # else somebody else has just installed the same
            raise


def _cause(error: OSError | ValueError) -> str:
    match error:
        case shutil.Error(args=[[(_, _, cause), *_]]):
            return str(cause)
        case OSError(strerror=str(cause)):
            return cause
        case _:
            return str(error)
