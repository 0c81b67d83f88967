"""The configuration that rules are tried under, the same for each of these commands."""

import click

from sidecar.cli.reporting import show
from sidecar.config.model import Config

WRONG_USAGE = 2


def configured(ctx: click.Context, paths: tuple[str, ...]) -> Config:
    """Return the configuration in *paths*, or end the command with what is wrong with it."""
    from sidecar.config.load import examine

    found = examine(paths)
    if found.config is None:
        show(found.errors, err=True)
        ctx.exit(WRONG_USAGE)
    return found.config
