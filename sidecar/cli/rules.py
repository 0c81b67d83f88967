"""``sidecar rules``: try rules before they bite, on expectations and on recorded decisions."""

import click

from sidecar.cli.group import LazyGroup


@click.group(
    "rules",
    cls=LazyGroup,
    modules={
        "test": "sidecar.cli.rules_test",
        "replay": "sidecar.cli.rules_replay",
        "report": "sidecar.cli.rules_report",
    },
    short_help="Test rules, and replay recorded decisions against others.",
)
def command() -> None:
    """Try rules before they bite.

    `test` holds a configuration to what you expect of it, `replay` tells which recorded requests
    another configuration would decide otherwise, `report` what recorded requests make of the rules.
    """
