"""Which control socket a command asks, and how it ends when nobody answers."""

import os
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from sidecar.cli.reporting import show

WRONG_USAGE = 2
NO_ANSWER = 3
VARIABLE = "SIDECAR_CONTROL"

Command = TypeVar("Command", bound=Callable[..., Any])


def socket_options(command: Command) -> Command:
    """Give *command* the options ``--control`` and ``--config`` (as *paths*)."""
    for option in (
        click.option(
            "--config",
            "-c",
            "paths",
            multiple=True,
            metavar="FILE",
            help="Configuration file that names the socket; repeat it as for `run`.",
        ),
        click.option(
            "--control", metavar="PATH", help="The control socket, admin.control in the file."
        ),
    ):
        command = option(command)
    return command


def socket_path(ctx: click.Context, control: str | None, paths: tuple[str, ...]) -> str:
    """Return the path that options or environment name; end *ctx* where they do not."""
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


def fail(ctx: click.Context, cause: str) -> NoReturn:
    """End the command because there is no answer."""
    from sidecar.config.problems import printable

    click.echo(printable(f"sidecar: cannot ask the sidecar: {cause}"), err=True)
    ctx.exit(NO_ANSWER)
