"""``sidecar rules report``: what recorded decisions make of the rules, and what to change."""

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from sidecar.cli.reporting import counted
from sidecar.cli.rules_configured import WRONG_USAGE, configured
from sidecar.cli.rules_replay import passed_over

if TYPE_CHECKING:
    from sidecar.rehearsal.evidence import Evidence
    from sidecar.rehearsal.suggestions import Suggestion

TOP = 5
MANY_SCOPES = 5

_EPILOG = """\b
Examples:
  sidecar rules report decisions.jsonl* --config sidecar.yaml
  sidecar rules report decisions.jsonl* --config sidecar.yaml --output diff | patch sidecar.yaml
\b
Suggestions change no recorded call; docs/rehearsing-rules.md says what they rest on.
Exit codes: 0 done, 2 wrong usage, or nothing recorded.
"""


@click.command("report", epilog=_EPILOG, short_help="What recorded requests make of the rules.")
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@click.option(
    "--config",
    "-c",
    "paths",
    multiple=True,
    required=True,
    metavar="FILE",
    help="Configuration file; repeat it as for `run`.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "json", "diff"]),
    default="text",
    help="diff is for `patch`, json for scripts.",
)
@click.pass_context
def command(
    ctx: click.Context, logs: tuple[str, ...], paths: tuple[str, ...], output: str
) -> None:  # fmt: skip
    """Tell what in the rules recorded requests never used, and suggest a change."""
    config = configured(ctx, paths)
    from sidecar.config.problems import printable
    from sidecar.rehearsal.evidence import gather
    from sidecar.rehearsal.judging import Judge
    from sidecar.rehearsal.recordings import RecordingError
    from sidecar.rehearsal.suggestions import diff, little, suggestions

    try:
        evidence = gather(logs, Judge(config, enforced=True))
    except RecordingError as error:
        click.echo(f"sidecar: {error}", err=True)
        ctx.exit(WRONG_USAGE)
    if not evidence.counts.records:
        click.echo("sidecar: no recorded request in there; `log.decisions` writes them", err=True)
        ctx.exit(WRONG_USAGE)
    found = tuple(suggestions(evidence))
    # Byte for byte: the difference must fit the file as it is.
    texts = {path: _text_of(path) for path in paths}
    changes = diff(texts, evidence, found, os.environ)
    if output == "json":
        click.echo(json.dumps(_json(evidence, found, changes), indent=2))
        return
    if output == "text":
        for line in _report(evidence):
            click.echo(printable(line))
    if changes or output == "diff":
        for line in _labels(evidence, found, little(evidence)):
            click.echo(printable(f"# {line}"))
        click.echo(changes, nl=False)


def _text_of(path: str) -> str:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return file.read()


def _period(evidence: "Evidence") -> str:
    counts = evidence.counts
    return f"{counted(counts.records, 'call')}, {counts.first} to {counts.last}"


def _labels(evidence: "Evidence", found: "tuple[Suggestion, ...]", little: str) -> Iterator[str]:
    yield f"Suggestions from {_period(evidence)}."
    if little:
        yield f"Warning: {little}."
    for suggestion in found:
        yield f"{suggestion.rule}: {suggestion.why}"


def _report(evidence: "Evidence") -> Iterator[str]:
    yield _period(evidence)
    for name, rule in evidence.rules.items():
        if not rule.calls:
            yield f"rule {name}: no traffic"
        elif rule.undecidable:
            yield f"rule {name}: {rule.undecidable} of {counted(rule.calls, 'call')} undecidable"
        for alternatives in rule.alternatives:
            if unused := alternatives.unused():
                what = f"{' '.join(alternatives.where)} {', '.join(unused)}"
                yield f"rule {name}: {what}: required, and no permit depended on it"
        if rule.rule.mode == "observe":
            refused = counted(rule.observed.total, "call")
            yield f"rule {name}: observes; enforcing it would refuse {refused} of {rule.calls}"
            for (reason, caller), count in rule.observed.top(TOP):
                yield f"  {count} {reason}: {caller}"
    if evidence.unmatched:
        yield f"{counted(evidence.unmatched, 'call')} under no rule"
    for (destination, issuer, audiences), count in evidence.relayed_outside.top(TOP):
        yield (
            f"destination {destination}: {counted(count, 'token')} of {issuer} relayed that are"
            f" for this service alone (aud: {audiences})"
        )
    for (issuer, client), scopes in evidence.scopes.items():
        unwanted = sorted(scopes.granted - evidence.wanted_scopes)
        if len(unwanted) >= MANY_SCOPES:
            shown = ", ".join(unwanted[:10])
            yield (
                f"client {client or 'unknown'} of {issuer}: {len(unwanted)} scopes that no rule"
                f" asks for, in {counted(scopes.calls, 'call')}: {shown}"
            )
    yield from passed_over(evidence.counts)


def _json(evidence: "Evidence", found: "tuple[Suggestion, ...]", changes: str) -> object:
    return {
        "calls": evidence.counts.records,
        "first": evidence.counts.first,
        "last": evidence.counts.last,
        "rules": [
            {
                "rule": name,
                "calls": rule.calls,
                "permitted": rule.permitted,
                "undecidable": rule.undecidable,
                "would_refuse": rule.observed.total,
            }
            for name, rule in evidence.rules.items()
        ],
        "relayed_outside_aud": [
            {"destination": key[0], "issuer": key[1], "aud": key[2], "count": count}
            for key, count in evidence.relayed_outside.top(TOP)
        ],
        "suggestions": [{"rule": each.rule, "why": each.why} for each in found],
        "diff": changes,
    }
