"""``sidecar reload``: have the sidecar that runs here read its configuration again, now."""

import click

from sidecar.cli.control_option import fail, socket_options, socket_path

REFUSED = 1
PATIENCE_SECONDS = 30.0
"""A new issuer's keys are waited for."""

_EPILOG = """\b
Examples:
  sidecar reload --control /run/sidecar/control.sock
  kubectl exec POD -c jwt-sidecar -- sidecar reload
\b
Changed files are noticed without this, within some seconds. Without an option the environment
variable SIDECAR_CONTROL names the socket.
Exit codes: 0 in use, 1 refused (the old configuration stays), 2 wrong usage, 3 no answer.
"""


@click.command("reload", epilog=_EPILOG, short_help="Have the configuration read again.")
@socket_options
@click.pass_context
def command(ctx: click.Context, control: str | None, paths: tuple[str, ...]) -> None:
    """Have a running sidecar read its configuration again, and tell what came of it."""
    from msgspec import DecodeError
    from msgspec.json import decode

    from sidecar.admin.reload import RELOAD_PATH, ReloadAnswer
    from sidecar.cli.control_client import ControlError, ask
    from sidecar.config.problems import printable

    path = socket_path(ctx, control, paths)
    try:
        content = ask(path, RELOAD_PATH, method="POST", patience_seconds=PATIENCE_SECONDS)
        answer = decode(content, type=ReloadAnswer)
    except ControlError as error:
        fail(ctx, str(error))
    except (DecodeError, UnicodeDecodeError):
        fail(ctx, f"the answer from {path} is not one that this version understands")
    for line in (*answer.problems, *answer.warnings):
        click.echo(printable(line), err=True)
    if answer.result == "reloaded":
        click.echo("sidecar: the new configuration is in use")
        return
    click.echo("sidecar: refused; the old configuration stays in use", err=True)
    ctx.exit(REFUSED)
