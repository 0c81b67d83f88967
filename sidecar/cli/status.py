"""``sidecar status``: how the sidecar that runs here is, for a person who has a minute."""

import os
from typing import NoReturn

import click

from sidecar.cli.reporting import show

NOT_READY = 1
WRONG_USAGE = 2
NO_ANSWER = 3
VARIABLE = "SIDECAR_CONTROL"

_EPILOG = """\b
Examples:
  sidecar status --control /run/sidecar/control.sock
  sidecar status --config sidecar.yaml --output json
  kubectl exec POD -c sidecar -- sidecar status --config /etc/sidecar/config.yaml
\b
Without an option the environment variable SIDECAR_CONTROL names the socket.
Exit codes: 0 ready, 1 not ready, 2 wrong usage, 3 no answer.
"""


@click.command("status", epilog=_EPILOG, short_help="Tell how a running sidecar is.")
@click.option("--control", metavar="PATH", help="The control socket, admin.control in the file.")
@click.option(
    "--config",
    "-c",
    "paths",
    multiple=True,
    metavar="FILE",
    help="Configuration file that names the socket; repeat it as for `run`.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "json"]),
    default="text",
    help="json is for scripts.",
)
@click.pass_context
def command(
    ctx: click.Context, control: str | None, paths: tuple[str, ...], output: str
) -> None:  # fmt: skip
    """Tell how a running sidecar is: readiness, keys, carrier, and what came of the app's calls."""
    from msgspec import DecodeError
    from msgspec.json import decode
    from msgspec.json import format as indented

    from sidecar.admin.status import STATUS_PATH, Status
    from sidecar.cli.control_client import ControlError, ask
    from sidecar.cli.status_text import lines

    path = socket_path(ctx, control, paths)
    try:
        content = ask(path, STATUS_PATH)
        status = decode(content, type=Status)
    except ControlError as error:
        _fail(ctx, str(error))
    except (DecodeError, UnicodeDecodeError):
        _fail(ctx, f"the answer from {path} is not a status that this version understands")
    if output == "json":
        click.echo(indented(content, indent=2))
    else:
        for line in lines(status):
            click.echo(line)
    if not status.ready:
        ctx.exit(NOT_READY)


def socket_path(ctx: click.Context, control: str | None, paths: tuple[str, ...]) -> str:
    """Return where to ask, or end with what to write on the command line."""
    if control is not None and paths:
        raise click.UsageError("give --control or --config: each says which socket to ask")
    if paths:
        return _configured(ctx, paths)
    given = os.environ.get(VARIABLE) if control is None else control
    if not given:
        raise click.UsageError(
            f"which sidecar? Give --control PATH, --config FILE or {VARIABLE}; the path is "
            "`admin.control` of its configuration"
        )
    return given.removeprefix("unix:")


def _configured(ctx: click.Context, paths: tuple[str, ...]) -> str:
    # Reading YAML costs more than all the rest, and often the socket is named directly.
    from sidecar.config.load import control_path

    path, problems = control_path(paths)
    if problems:
        show(problems, err=True)
        ctx.exit(WRONG_USAGE)
    if path is None:
        raise click.UsageError(
            f"{', '.join(paths)}: `admin.control` is off, so this sidecar cannot be asked; write "
            "`control: unix:/run/sidecar/control.sock` under `admin` and start it again"
        )
    return path


def _fail(ctx: click.Context, cause: str) -> NoReturn:
    from sidecar.config.problems import printable

    click.echo(printable(f"sidecar: cannot ask the sidecar: {cause}"), err=True)
    ctx.exit(NO_ANSWER)
