"""``sidecar carrier``: what an app loads so that its calls can be attributed."""

import os
import shutil
from pathlib import Path

import click

import sidecar

FINDING = 1
_CARRIERS = Path(sidecar.__file__).parent / "carriers"

_ENV_EPILOG = """\b
Example:
  env $(sidecar carrier env python) python app.py
"""

_INSTALL_EPILOG = """\b
Example, in an init container that shares a volume with the app:
  sidecar carrier install /carriers
and in the app's container:
  PYTHONPATH=/carriers/python
"""


@click.group("carrier", short_help="Load the carrier into an app.")
def command() -> None:
    """Load the carrier into an app, without a change to its code."""


@command.command("env", epilog=_ENV_EPILOG)
@click.argument("runtime", type=click.Choice(["python"]))
def env(runtime: str) -> None:
    """Print the environment variables that make an app on this machine load the carrier."""
    directory = str(_CARRIERS / runtime)
    inherited = os.environ.get("PYTHONPATH", "")
    click.echo(f"PYTHONPATH={os.pathsep.join(filter(None, (directory, inherited)))}")
    click.echo("SIDECAR_CARRIER=grade=strict")


@command.command("install", epilog=_INSTALL_EPILOG)
@click.argument("directory")
@click.pass_context
def install(ctx: click.Context, directory: str) -> None:
    """Copy the carriers to DIRECTORY, one directory for each runtime."""
    target = Path(directory) / "python"
    try:
        shutil.copytree(
            _CARRIERS / "python",
            target,
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )
    except (OSError, ValueError) as error:
        click.echo(f"sidecar: cannot install to {target}: {_cause(error)}", err=True)
        ctx.exit(FINDING)
    click.echo(f"installed; the app needs PYTHONPATH={target}")


def _cause(error: OSError | ValueError) -> str:
    match error:
        case shutil.Error(args=[[(_, _, cause), *_]]):
            return str(cause)
        case OSError(strerror=str(cause)):
            return cause
        case _:
            return str(error)
