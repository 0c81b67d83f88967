"""``sidecar demo``: the tour."""

import sys

import click


@click.command("demo", short_help="Show it at work, and check every step.")
@click.option("--serve", is_flag=True, help="Leave everything running and print calls to copy.")
@click.pass_context
def command(ctx: click.Context, serve: bool) -> None:
    """Show on two real services what the sidecar does, and check every step.

    Needs no cluster and no configuration: an identity provider, two services without any auth
    code and a sidecar beside each are started on this machine, used by many users at once, and
    stopped. Exit code 0 only if every step held.
    """
    from sidecar.demo.tour import run

    ctx.exit(run(serve=serve, output=sys.stdout))
