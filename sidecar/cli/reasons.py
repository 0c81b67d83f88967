"""``sidecar reasons``: every code of a refusal, what it means, who can fix it and how."""

import textwrap

import click

_EPILOG = """\b
Examples:
  sidecar reasons
  sidecar reasons audience_mismatch
  sidecar reasons --markdown > docs/reasons.md
"""
_WIDTH = 80


@click.command("reasons", epilog=_EPILOG, short_help="Tell what a code of a refusal means.")
@click.argument("code", required=False)
@click.option("--markdown", is_flag=True, help="The page docs/reasons.md.")
def command(code: str | None, markdown: bool) -> None:
    """List every code of a refusal, or tell what CODE means, who can fix it and how."""
    from sidecar.core import reason_texts
    from sidecar.core.outcome import REASONS_BY_CODE, Reason

    if markdown:
        if code is not None:
            raise click.UsageError("--markdown prints all of them: leave the code out")
        click.echo(reason_texts.markdown(), nl=False)
    elif code is None:
        width = max(len(reason.code) for reason in Reason)
        for reason in Reason:
            later = " (reserved)" if reason in reason_texts.RESERVED else ""
            click.echo(
                f"{reason.code:<{width}}  {reason.facts.status}  {reason.facts.title}{later}"
            )
    elif code.rpartition(":")[2] in REASONS_BY_CODE:
        for line in reason_texts.described(REASONS_BY_CODE[code.rpartition(":")[2]]):
            indent = " " * (len(line) - len(line.lstrip()))
            click.echo(
                textwrap.fill(
                    line, _WIDTH, subsequent_indent=indent and f"{indent}  ",
                    break_long_words=False, break_on_hyphens=False,
                )
            )  # fmt: skip
    else:
        from sidecar.config.problems import nearest, quoted

        meant = nearest(code, REASONS_BY_CODE)
        hint = f"did you mean `{meant}`?" if meant else "`sidecar reasons` lists them"
        raise click.BadParameter(f"{quoted(code)} is no reason; {hint}", param_hint="'CODE'")
