"""``sidecar explain``: why a running sidecar decided as it did, or one would with a file."""

import click

from sidecar.cli.control_option import fail, socket_options, socket_path

REFUSED = 1
_LISTED = 20
_NOT_FOUND = 404

_EPILOG = """\b
A decision of the sidecar that runs (the id is in x-sidecar-decision and in the access log):
  sidecar explain 4k2x81c0a7qzn5td --control /run/sidecar/control.sock
  sidecar explain --last --reason audience_mismatch --config sidecar.yaml
  kubectl exec POD -c jwt-sidecar -- sidecar explain --last
Without an id, the latest refusals are listed; --all lists permits, too.
\b
Offline, what a configuration would decide (the token is never printed):
  sidecar explain --token token.txt --method GET --path /orders/7 --config sidecar.yaml
  pbpaste | sidecar explain --token - --path /admin --config sidecar.yaml
  sidecar explain --claims claims.json --path /admin --config sidecar.yaml --offline
\b
Exit codes: 0 allowed, or listed; 1 refused, or not kept; 2 wrong usage; 3 no answer.
"""


@click.command("explain", epilog=_EPILOG, short_help="Tell why a request was refused.")
@click.argument("decision", required=False, metavar="[ID]")
@socket_options
@click.option("--last", is_flag=True, help="The latest refusal, of --reason if that is given.")
@click.option("--reason", metavar="CODE", default="", help="Only what was refused for this.")
@click.option("--all", "permits", is_flag=True, help="Permits, too, where decisions are listed.")
@click.option("--token", metavar="FILE", help="Offline: file with a token, - for standard input.")
@click.option("--claims", metavar="FILE", help="Offline: JSON of claims; no signature is checked.")
@click.option("--method", default="GET", show_default=True, help="Offline: of the request.")
@click.option("--path", metavar="PATH", help="Offline: of the request.")
@click.option("--host", default="", help="Offline: of the request, if rules ask for it.")
@click.option("--offline", is_flag=True, help="Fetch nothing: keys from files alone.")
@click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "json"]),
    default="text",
    help="json is for scripts.",
)
@click.pass_context
def command(
    ctx: click.Context,
    decision: str | None,
    control: str | None,
    paths: tuple[str, ...],
    last: bool,
    reason: str,
    permits: bool,
    token: str | None,
    claims: str | None,
    method: str,
    path: str | None,
    host: str,
    offline: bool,
    output: str,
) -> None:  # fmt: skip
    """Tell why a request was refused, step by step: what was wanted, found, and nearly right."""
    if path is not None or token is not None or claims is not None:
        if decision is not None or control is not None or last or reason or permits:
            raise click.UsageError("--token, --claims and --path ask no running sidecar")
        from sidecar.cli.explain_offline import Request, judge_and_show

        asked = Request(
            method=method, path=path, host=host, token=token, claims=claims, offline=offline
        )
        judge_and_show(ctx, asked, paths, output)
        return
    if decision is not None and (last or reason or permits):
        raise click.UsageError("give an id, or --last, --reason or --all")
    _ask(ctx, socket_path(ctx, control, paths), decision, last, reason, permits, output)


def _ask(
    ctx: click.Context,
    path: str,
    decision: str | None,
    last: bool,
    reason: str,
    permits: bool,
    output: str,
) -> None:
    from msgspec import DecodeError
    from msgspec.json import decode
    from msgspec.json import format as indented

    from sidecar.cli.control_client import ControlError, ask
    from sidecar.cli.explain_text import lines, table
    from sidecar.explain.rows import DECISIONS_PATH, DecisionList, Explanation

    reason = reason.rpartition(":")[2]  # of the problem's type, perhaps
    try:
        if decision is None:
            wanted = f"limit={1 if last else _LISTED}&refused={0 if permits or reason else 1}"
            content = ask(
                path, f"{DECISIONS_PATH}?{wanted}" + (f"&reason={_safe(reason)}" if reason else "")
            )
            found = decode(content, type=DecisionList)
            if not last:
                click.echo(
                    indented(content, indent=2)
                    if output == "json"
                    else "\n".join(table(found.decisions) if found.decisions else [_none(found)])
                )
                return
            if not found.decisions:
                click.echo(f"sidecar: {_none(found)}", err=True)
                ctx.exit(REFUSED)
            decision = found.decisions[0].id
        content = ask(path, f"{DECISIONS_PATH}/{_safe(decision.rpartition(':')[2])}")
        explained = decode(content, type=Explanation)
    except ControlError as error:
        if error.status != _NOT_FOUND:
            fail(ctx, str(error))
        click.echo(f"sidecar: {error.told}; `sidecar explain --all` lists what is kept", err=True)
        ctx.exit(REFUSED)
    except (DecodeError, UnicodeDecodeError):
        fail(ctx, f"the answer from {path} is not one that this version understands")
    if output == "json":
        click.echo(indented(content, indent=2))
    else:
        for line in lines(explained):
            click.echo(line)
    if not explained.allowed:
        ctx.exit(REFUSED)


def _none(found: "object") -> str:
    recorded = getattr(found, "recorded", 0)
    return f"no such decision is kept; {recorded:,} were made since the start"


def _safe(text: str) -> str:
    from urllib.parse import quote

    return quote(text[:64], safe="")
