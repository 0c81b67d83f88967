"""``sidecar check``: everything that is wrong with a configuration, or what it would do."""

import dataclasses
import json

import click

from sidecar.cli.reporting import counted, show

FINDING = 1

_EPILOG = """\b
Examples:
  sidecar check --config sidecar.yaml
  sidecar check --config base.yaml --config production.yaml --output json
\b
Nothing is fetched and no port is opened; key files are read.
Exit codes: 0 usable (warnings included), 1 problems found, 2 wrong usage.
"""


@click.command("check", epilog=_EPILOG, short_help="Print every problem of a configuration.")
@click.option(
    "--config",
    "-c",
    "paths",
    multiple=True,
    required=True,
    metavar="FILE",
    help="Configuration file; several merge, and none overrides another.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "json"]),
    default="text",
    help="json is for editors and CI.",
)
@click.pass_context
def command(ctx: click.Context, paths: tuple[str, ...], output: str) -> None:  # fmt: skip
    """Print every problem of a configuration, or else a summary of what it would do."""
    from sidecar.config.load import examine

    found = examine(paths)
    if output == "json":
        click.echo(
            json.dumps(
                {
                    "usable": found.config is not None,
                    "problems": [dataclasses.asdict(p) for p in (*found.errors, *found.warnings)],
                },
                indent=2,
            )
        )
    else:
        show((*found.errors, *found.warnings), err=False)
        if found.config is None:
            click.echo(f"{counted(len(found.errors), 'problem')} found")
        else:
            from sidecar.cli.summary import summary

            for line in summary(found.config):
                click.echo(line)
    if found.config is None:
        ctx.exit(FINDING)
