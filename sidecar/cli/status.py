"""``sidecar status``: how the sidecar that runs here is, for a person who has a minute."""

import shutil
import sys
import textwrap

import click

from sidecar.cli.control_option import fail, socket_options, socket_path

NOT_READY = 1

_EPILOG = """\b
Examples:
  sidecar status --control /run/sidecar/control.sock
  sidecar status --config sidecar.yaml --output json
  kubectl exec POD -c jwt-sidecar -- sidecar status
\b
Without an option the environment variable SIDECAR_CONTROL names the socket.
Exit codes: 0 ready, 1 not ready, 2 wrong usage, 3 no answer.
"""


def _fitted(line: str) -> str:
    """Return *line* wrapped where a person reads it; whoever reads lines gets it whole."""
    if not sys.stdout.isatty():
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    columns = shutil.get_terminal_size((80, 24)).columns
    return textwrap.fill(line, max(40, columns), subsequent_indent=indent, break_on_hyphens=False)


@click.command("status", epilog=_EPILOG, short_help="Tell how a running sidecar is.")
@socket_options
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
        fail(ctx, str(error))
    except (DecodeError, UnicodeDecodeError):
        fail(ctx, f"the answer from {path} is not a status that this version understands")
    if output == "json":
        click.echo(indented(content, indent=2))
    else:
        for line in lines(status):
            click.echo(_fitted(line))
    if not status.ready:
        ctx.exit(NOT_READY)
