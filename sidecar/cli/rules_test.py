"""``sidecar rules test``: a configuration held to what is expected of it, for people's CI."""

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import click

from sidecar.cli.reporting import counted, show
from sidecar.cli.rules_configured import WRONG_USAGE, configured

if TYPE_CHECKING:
    from sidecar.rehearsal.testing import Result, TestRun

FAILED = 1

_EPILOG = """\b
Examples:
  sidecar rules test rules.test.yaml --config sidecar.yaml
  sidecar rules test tests/*.yaml --config sidecar.yaml --fail-uncovered --output junit
\b
Nothing is fetched and no port is opened. docs/rehearsing-rules.md has the form of FILE.
Exit codes: 0 all as expected, 1 some not, 2 wrong usage or a problem in a file.
"""


@click.command("test", epilog=_EPILOG, short_help="Hold a configuration to expectations.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--config",
    "-c",
    "paths",
    multiple=True,
    required=True,
    metavar="FILE",
    help="Configuration file; repeat it as for `run`.",
)
@click.option("--coverage", is_flag=True, help="Name the rules under which no case fell.")
@click.option("--fail-uncovered", is_flag=True, help="Fail if there are such rules.")
@click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "json", "junit"]),
    default="text",
    help="json and junit are for CI.",
)
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[str, ...],
    paths: tuple[str, ...],
    coverage: bool,
    fail_uncovered: bool,
    output: str,
) -> None:  # fmt: skip
    """Judge each case of FILE under a configuration, by the code that judges requests."""
    config = configured(ctx, paths)
    from sidecar.rehearsal.expectations import read_expectations
    from sidecar.rehearsal.judging import Judge
    from sidecar.rehearsal.testing import misfits, run_tests

    read = [read_expectations(path) for path in files]
    problems = [problem for _, found in read for problem in found]
    judge = Judge(config)
    expected = [each for each, _ in read if each is not None]
    problems += misfits(expected, judge)
    if problems:
        show(problems, err=True)
        ctx.exit(WRONG_USAGE)
    run = run_tests(expected, judge, now=time.time())
    match output:
        case "json":
            click.echo(json.dumps(_json(run), indent=2))
        case "junit":
            click.echo("\n".join(_junit(run)))
        case _:
            for line in _text(run, coverage=coverage or fail_uncovered):
                click.echo(line)
    if run.failed or (fail_uncovered and run.uncovered):
        ctx.exit(FAILED)


def _text(run: "TestRun", *, coverage: bool) -> Iterator[str]:
    from sidecar.config.problems import printable

    for result in run.failed:
        yield printable(f"{result.case.place}: {result.case.name}: {_difference(result)}")
    passed = len(run.results) - len(run.failed)
    yield f"{counted(len(run.results), 'case')}: {passed} as expected, {len(run.failed)} not"
    if coverage:
        reached = len(run.rules) - len(run.uncovered)
        yield f"{reached} of {counted(len(run.rules), 'rule')} exercised"
        for name in run.uncovered:
            yield printable(f"  no case falls under the rule {name}")


def _difference(result: "Result") -> str:
    verdict = result.verdict
    detail = f": {verdict.detail}" if verdict.detail else ""
    return f"expected {result.case.expect}, but it is {verdict}{detail}"


def _json(run: "TestRun") -> object:
    return {
        "cases": [
            {
                "name": result.case.name,
                "file": result.case.place.file,
                "line": result.case.place.line,
                "passed": result.passed,
                "expected": str(result.case.expect),
                "allowed": result.verdict.allowed,
                "reason": result.verdict.reason,
                "rule": result.verdict.rule,
                "detail": result.verdict.detail,
            }
            for result in run.results
        ],
        "failed": len(run.failed),
        "uncovered": list(run.uncovered),
    }


def _junit(run: "TestRun") -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    counts = f'tests="{len(run.results)}" failures="{len(run.failed)}"'
    yield f'<testsuite name="sidecar rules" {counts}>'
    for result in run.results:
        case = result.case
        named = f"name={_attribute(case.name)} classname={_attribute(case.place.file)}"
        if result.passed:
            yield f"  <testcase {named}/>"
        else:
            yield f"  <testcase {named}>"
            yield f"    <failure message={_attribute(_difference(result))}/>"
            yield "  </testcase>"
    yield "</testsuite>"


def _attribute(text: str) -> str:
    from sidecar.config.problems import printable

    return quoteattr(printable(text).encode("ascii", "xmlcharrefreplace").decode())
