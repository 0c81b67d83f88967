"""``sidecar drain``: tell the sidecar that runs here that its pod is about to end."""

import time

import click

from sidecar.cli.control_option import fail, socket_options, socket_path

STILL_THERE = 1
LOOK_SECONDS = 0.25

_EPILOG = """\b
Examples:
  sidecar drain --control /run/sidecar/control.sock
  sidecar drain --control /run/sidecar/control.sock --wait
\b
As preStop hook of a native sidecar, without --wait: Kubernetes ends the app first anyway.
Beside the app, as an ordinary container, with --wait: Kubernetes would end both at once, and so
the sidecar serves until the app has ended, at most for `drain_timeout`.
\b
Without an option the environment variable SIDECAR_CONTROL names the socket.
Exit codes: 0 draining, or ended; 1 the app is still there; 2 wrong usage; 3 no answer.
"""


@click.command("drain", epilog=_EPILOG, short_help="Prepare a running sidecar for its end.")
@socket_options
@click.option(
    "--wait",
    is_flag=True,
    help="Return when the app has ended and no caller waits, or after `drain_timeout`.",
)
@click.pass_context
def command(ctx: click.Context, control: str | None, paths: tuple[str, ...], wait: bool) -> None:
    """Stop being ready, and tell callers to go elsewhere; go on serving until SIGTERM."""
    from msgspec import DecodeError
    from msgspec.json import decode

    from sidecar.admin.drain_status import DRAIN_PATH, DrainStatus
    from sidecar.cli.control_client import ControlError, ask

    path = socket_path(ctx, control, paths)

    def asked(method: str) -> DrainStatus:
        return decode(ask(path, DRAIN_PATH, method=method), type=DrainStatus)

    try:
        status = asked("POST")
    except ControlError as error:
        fail(ctx, str(error))
    except (DecodeError, UnicodeDecodeError):
        fail(ctx, f"the answer from {path} is not one that this version understands")
    if not wait:
        click.echo("draining")
        return
    ends_at = time.monotonic() + status.timeout_seconds
    while not (status.app_gone and status.requests == 0):
        if time.monotonic() >= ends_at:
            click.echo(f"draining; the app is still there after {status.timeout_seconds:g} s")
            ctx.exit(STILL_THERE)
        time.sleep(LOOK_SECONDS)
        try:
            status = asked("GET")
        except (ControlError, DecodeError, UnicodeDecodeError):
            click.echo("the sidecar has ended")  # it was told to meanwhile: nothing is left to do
            return
    click.echo("draining; the app has ended")
