"""The ``sidecar`` command.

Each command is a module that is imported when it is asked for, and what it needs is imported
when it runs: ``--help`` and ``--version`` cost neither aiohttp nor cryptography.
"""

import sys
from io import TextIOWrapper

import click

from sidecar import __version__
from sidecar.cli.group import LazyGroup
from sidecar.core.build import COMPILED

_EPILOG = """\b
Try it, without a cluster:
  sidecar demo
\b
Start from a file:
  sidecar init --issuer https://idp.example/realms/shop --app 8080 --output sidecar.yaml
  sidecar check --config sidecar.yaml
  sidecar run --config sidecar.yaml
\b
Or from flags alone:
  sidecar run --app 8080 --issuer https://idp.example/realms/shop --audience my-service \\
      --destination 9001=http://127.0.0.1:8081
\b
How is the one that runs?
  sidecar status --control /run/sidecar/control.sock
  sidecar ui --control /run/sidecar/control.sock
\b
Why was that refused?
  sidecar explain --last --control /run/sidecar/control.sock
  sidecar reasons audience_mismatch
\b
Exit codes:
  0  done          1  a finding, such as a problem in a file
  2  wrong usage   3  the sidecar cannot start, or cannot be reached
\b
Every configuration key: docs/configuration.md, or `sidecar schema --table`.
"""


@click.group(
    cls=LazyGroup,
    modules={
        "run": "sidecar.cli.run",
        "check": "sidecar.cli.check",
        "init": "sidecar.cli.init",
        "schema": "sidecar.cli.schema",
        "demo": "sidecar.cli.demo",
        "carrier": "sidecar.cli.carrier",
        "inject": "sidecar.cli.inject",
        "injector": "sidecar.cli.injector",
        "attribution": "sidecar.cli.attribution",
        "status": "sidecar.cli.status",
        "reload": "sidecar.cli.reload",
        "drain": "sidecar.cli.drain",
        "explain": "sidecar.cli.explain",
        "reasons": "sidecar.cli.reasons",
        "rules": "sidecar.cli.rules",
        "ui": "sidecar.cli.ui",
        "control-pipe": "sidecar.cli.control_pipe",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(
    __version__, message="sidecar %(version)s (compiled)" if COMPILED else "sidecar %(version)s"
)
def sidecar() -> None:
    """The identity proxy beside one app.

    It verifies the token of every request to the app, and reattaches that token to the calls
    which the request causes.
    """


def main() -> None:
    """Run the command line and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A locale without the characters of a message costs those characters, not the message.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            sidecar(prog_name="sidecar")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
        sys.exit(1)
    except OSError as error:
        _abandon_output()
        click.echo(f"sidecar: cannot write the output: {error.strerror}", err=True)
        sys.exit(1)


def _abandon_output() -> None:
    # What is still buffered would fail again, loudly, when the interpreter ends.
    import os

    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
