"""``sidecar schema``: the form of the configuration file, for editors, CI and people."""

import json

import click

_EPILOG = """\b
Examples:
  sidecar schema > sidecar.schema.json
  sidecar schema --table
"""


@click.command("schema", epilog=_EPILOG, short_help="Print the JSON Schema of the file.")
@click.option("--table", is_flag=True, help="All keys as a Markdown table instead.")
def command(table: bool) -> None:
    """Print the JSON Schema (2020-12) of the configuration file."""
    if table:
        from sidecar.config.reference import markdown

        click.echo(markdown(), nl=False)
    else:
        from sidecar.config.schema import json_schema

        click.echo(json.dumps(json_schema(), indent=2))
