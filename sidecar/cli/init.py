"""``sidecar init``: a commented configuration file to start from."""

import click

from sidecar.cli.reporting import show

USAGE = 2
FINDING = 1

_EPILOG = """\b
Examples:
  sidecar init --issuer https://idp.example/realms/shop --app 8080 --audience my-service
  sidecar init --issuer https://idp.example/realms/shop --app 8080 --output sidecar.yaml
\b
Exit codes: 0 printed or written, 1 the file exists or cannot be written, 2 wrong usage.
"""


@click.command("init", epilog=_EPILOG, short_help="Print a configuration file to start from.")
@click.option("--issuer", required=True, metavar="URL", help="Whose tokens are accepted.")
@click.option("--app", required=True, metavar="PORT|URL", help="Where the app listens.")
@click.option(
    "--audience",
    "audiences",
    multiple=True,
    metavar="NAME",
    help="Audience that tokens must name; repeatable.",
)
@click.option("--output", "-o", metavar="FILE", help="Write a new file instead of printing.")
@click.pass_context
def command(
    ctx: click.Context, issuer: str, app: str, audiences: tuple[str, ...], output: str | None
) -> None:  # fmt: skip
    """Print a commented configuration file that `sidecar check` accepts."""
    from sidecar.config.flags import Flags
    from sidecar.config.load import examine
    from sidecar.config.template import PLACEHOLDER_AUDIENCE, render

    flags = Flags(issuer=issuer, app=app, audiences=audiences or (PLACEHOLDER_AUDIENCE,))
    found = examine([], flags=flags)
    if found.config is None:
        show(found.errors, err=True)
        ctx.exit(USAGE)
    text = render(issuer=issuer, app=str(found.config.inbound.app), audiences=audiences)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with open(output, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        click.echo(f"sidecar: {output} exists; it is unchanged", err=True)
        ctx.exit(FINDING)
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not a path"
        click.echo(f"sidecar: cannot write {output}: {cause}", err=True)
        ctx.exit(FINDING)
    click.echo(f"wrote {output}; next: sidecar check --config {output}", err=True)
