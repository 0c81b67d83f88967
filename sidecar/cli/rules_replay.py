"""``sidecar rules replay``: recorded requests decided again, and how many would flip."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from sidecar.cli.reporting import counted
from sidecar.cli.rules_configured import WRONG_USAGE, configured

if TYPE_CHECKING:
    from sidecar.rehearsal.recordings import Counts
    from sidecar.rehearsal.replaying import Flip, Replay

FLIPPED = 1
TOP = 5

_EPILOG = """\b
Examples:
  sidecar rules replay /var/log/sidecar/decisions.jsonl* --config new.yaml
  kubectl logs POD -c jwt-sidecar | sidecar rules replay - --config new.yaml
\b
LOG is what `log.decisions` writes; plain or gzip, several, in any order; - is standard input.
Exit codes: 0 nothing flips, 1 something does, 2 wrong usage, or nothing that can be judged.
"""


@click.command("replay", epilog=_EPILOG, short_help="Decide recorded requests again.")
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@click.option(
    "--config",
    "-c",
    "paths",
    multiple=True,
    required=True,
    metavar="FILE",
    help="The configuration to try; repeat it as for `run`.",
)
@click.option("--enforced", is_flag=True, help="Judge as if no rule only observed.")
@click.option(
    "--allow-flips",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Succeed with up to N flips.",
)
@click.option("--fail-undecidable", is_flag=True, help="Fail if a request cannot be judged.")
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
    logs: tuple[str, ...],
    paths: tuple[str, ...],
    enforced: bool,
    allow_flips: int,
    fail_undecidable: bool,
    output: str,
) -> None:  # fmt: skip
    """Tell which requests in LOG a configuration would decide otherwise, by rule and caller."""
    config = configured(ctx, paths)
    from sidecar.rehearsal.judging import Judge
    from sidecar.rehearsal.recordings import RecordingError
    from sidecar.rehearsal.replaying import replay

    try:
        result = replay(logs, Judge(config, enforced=enforced))
    except RecordingError as error:
        click.echo(f"sidecar: {error}", err=True)
        ctx.exit(WRONG_USAGE)
    if output == "json":
        click.echo(json.dumps(_json(result), indent=2))
    else:
        from sidecar.config.problems import printable

        for line in _text(result):
            click.echo(printable(line))
    if not result.judged and not result.undecidable.total:
        click.echo("sidecar: no recorded request in there; `log.decisions` writes them", err=True)
        ctx.exit(WRONG_USAGE)
    if result.flips > allow_flips or (fail_undecidable and result.undecidable.total):
        ctx.exit(FLIPPED)


def passed_over(counts: "Counts") -> Iterator[str]:
    """Yield what in the files was no recorded decision."""
    for number, noun in (
        (counts.malformed, "malformed line"),
        (counts.others, "line of another kind"),
        (counts.versions, "record of another version"),
    ):
        if number:
            yield f"{counted(number, noun) if noun[0] == 'm' else f'{number} {noun}'} passed over"


def _text(result: "Replay") -> Iterator[str]:
    span = f", {result.counts.first} to {result.counts.last}" if result.counts.first else ""
    yield f"{counted(result.judged, 'request')} judged again{span}: {result.flips} would flip"
    for flip, group in result.ranked():
        yield f"  {group.count} {_change(flip)}"
        for caller, count in group.callers.top(TOP):
            yield f"    {count} {caller}"
        yield f"    for example {', '.join(group.examples)}"
    if result.ungrouped:
        yield f"  {result.ungrouped} more of other kinds"
    if result.undecidable.total:
        yield f"{counted(result.undecidable.total, 'request')} undecidable"
        for reason, count in result.undecidable.top(TOP):
            hint = f"; add it to log.decisions.claims: [{reason.claim}]" if reason.claim else ""
            yield f"  {count} {reason.why}{hint}"
    yield from passed_over(result.counts)


def _change(flip: "Flip") -> str:
    before = f"{flip.before} ({flip.reason_before or flip.rule_before or 'no rule'})"
    after = f"{flip.after} by {flip.rule or 'no rule'}"
    return f"{before} -> {after}{f': {flip.reason}' if flip.reason else ''}"


def _json(result: "Replay") -> object:
    return {
        "judged": result.judged,
        "flips": result.flips,
        "groups": [
            {
                "count": group.count,
                "before": flip.before,
                "rule_before": flip.rule_before,
                "reason_before": flip.reason_before,
                "after": flip.after,
                "rule": flip.rule,
                "reason": flip.reason,
                "callers": [{"caller": c, "count": n} for c, n in group.callers.top(TOP)],
                "examples": group.examples,
            }
            for flip, group in result.ranked()
        ],
        "undecidable": [
            {"count": n, "why": reason.why, "claim": reason.claim}
            for reason, n in result.undecidable.top(TOP)
        ],
        "undecidable_total": result.undecidable.total,
        "malformed": result.counts.malformed,
        "other_lines": result.counts.others,
        "other_versions": result.counts.versions,
        "first": result.counts.first,
        "last": result.counts.last,
    }
