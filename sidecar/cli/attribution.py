"""``sidecar attribution``: try on the user's own app whether each call gets its caller's token."""

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sidecar.trial.plan import Plan

FINDING = 1
CANNOT_START = 3
STOPPED = 130
"""After Ctrl-C, by the convention of shells."""

_DESTINATION = re.compile(r"(?:(?P<name>[^=]*)=)?(?P<port>[0-9]{1,5})")

_EPILOG = """\b
Examples:
  sidecar attribution test --app 8080 --start 'python app.py' --destination 9001 \\
      --endpoint 'GET /orders/{user}' --endpoint 'POST /carts/{user}?x=1 {"owner": "{user}"}'
  sidecar attribution test --app 8080 --destination profiles=9001 --endpoint /users/{user} \\
      --calls 30000 --timeout 10m --output json
\b
Stop what listens on the destination ports: the test stands in for it. The app is asked by users
who exist only here, so it needs test data or none. A started app finds the carrier, PORT and
DESTINATION_<NAME> (a URL) in its environment; one that runs already must have loaded the carrier.
\b
Exit codes: 0 no wrong token, and every endpoint made enough calls with the right one (30, and one
in ten) to prove something, 1 a wrong token, or nothing proved, 2 wrong usage, 3 cannot start.
"""


@click.group("attribution", short_help="Try it on an app of yours.")
def command() -> None:
    """Find out what the sidecar can do for an app, before users do."""


@command.command("test", epilog=_EPILOG, short_help="Count calls with a wrong token.")
@click.option("--app", required=True, metavar="PORT|URL", help="Where the app listens, loopback.")
@click.option(
    "--destination",
    "destinations",
    multiple=True,
    required=True,
    metavar="[NAME=]PORT",
    help="Port on localhost that the app calls; repeatable.",
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    required=True,
    metavar="'[METHOD ]PATH[ BODY]'",
    help="A request to make; {user} becomes the user's name; repeatable.",
)
@click.option("--start", default="", metavar="COMMAND", help="Start the app, and end it after.")
@click.option("--calls", default=2000, show_default=True, help="Requests, without retries.")
@click.option("--users", default=200, show_default=True, help="Different users.")
@click.option(
    "--concurrency",
    default="1,5,30",
    show_default=True,
    metavar="N[,N...]",
    help="Requests at once, one round each.",
)
@click.option(
    "--min-assurance",
    type=click.Choice(["strict", "standard", "compat"]),
    default="strict",
    show_default=True,
    help="What the destination demands.",
)
@click.option(
    "--carrier",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="What the app loads: auto, python or none.",
)
@click.option(
    "--token-to-app",
    type=click.Choice(["withhold", "forward"]),
    default="withhold",
    show_default=True,
    help="Whether the app sees the token.",
)
@click.option(
    "--exclusive",
    type=click.Choice(["off", "credential", "request"]),
    default="off",
    show_default=True,
    help="Admission, as attribution.exclusive.",
)
@click.option(
    "--answer",
    metavar="TEXT|@FILE",
    help="What destinations answer; {user} becomes the name the call holds.",
)
@click.option(
    "--latency", default="20ms", show_default=True, help="Usual delay of destinations, at most."
)
@click.option("--seed", default=0, show_default=True, help="Of delays, faults and turns.")
@click.option(
    "--timeout", default="120s", show_default=True, help="Of the load; starting comes on top."
)
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text")
@click.pass_context
def test(ctx: click.Context, /, output: str, **written: Any) -> None:
    """Drive an app with many users at once, and look at the token of every call it makes.

    The app runs between a sidecar and a destination that knows whose token is whose. Each user's
    name is a word that exists once; a call that holds it in path, query, header or body tells for
    whom it is made, and must carry that user's token. The first requests stay open while others
    are served, callers hang up, destinations fail, connections are shared: that is when apps mix
    up their users.
    """
    import asyncio

    from sidecar.cli.trial_report import ProgressLine, document, lines
    from sidecar.demo.story import Look
    from sidecar.testbed.interruption import terminable
    from sidecar.testbed.processes import ProcessError
    from sidecar.trial.plan import PlanError
    from sidecar.trial.report import Report
    from sidecar.trial.running import run_trial
    from sidecar.trial.stage import TrialError

    try:
        plan = _plan(**written)
    except PlanError as error:
        raise click.UsageError(str(error)) from None

    async def run(line: ProgressLine) -> Report:
        with terminable():
            return await run_trial(plan, progress=line.show)

    with ProgressLine(sys.stderr) as line:
        try:
            report = asyncio.run(run(line))
        except (KeyboardInterrupt, asyncio.CancelledError):
            line.end("sidecar: stopped; nothing is left running")
            ctx.exit(STOPPED)
        except (TrialError, ProcessError) as error:
            line.end(f"sidecar: cannot test: {error}", *error.last_lines[-5:])
            ctx.exit(CANNOT_START)
    shown = document(report) if output == "json" else "\n".join(lines(report, Look.of(sys.stdout)))
    click.echo(shown)
    if not report.passed:
        ctx.exit(FINDING)


def _plan(
    *,
    app: str,
    destinations: tuple[str, ...],
    endpoints: tuple[str, ...],
    start: str,
    concurrency: str,
    answer: str | None,
    latency: str,
    timeout: str,
    **same: Any,
) -> "Plan":
    """Read what was written. Raises ``PlanError``."""
    from sidecar.trial.plan import Endpoint, Plan

    if answer is not None:
        same["answer"] = _answer(answer)
    return Plan(
        app=f"http://127.0.0.1:{app}" if app.isdecimal() else app,
        destinations=_destinations(destinations),
        endpoints=tuple(map(Endpoint.parse, endpoints)),
        start=_words(start),
        concurrency=_levels(concurrency),
        latency_seconds=_seconds("--latency", latency, 0, 10),
        timeout_seconds=_seconds("--timeout", timeout, 1, 86_400),
        **same,
    )


def _destinations(written: tuple[str, ...]) -> dict[str, int]:
    from sidecar.trial.plan import PlanError

    ports: dict[str, int] = {}
    for text in written:
        match = _DESTINATION.fullmatch(text)
        if match is None:
            raise PlanError(f"destination {text!r}: write PORT or NAME=PORT, as in profiles=9001")
        name = match["name"] or f"port-{int(match['port'])}"
        if name in ports:
            raise PlanError(f"destination {name!r} is given twice")
        ports[name] = int(match["port"])
    return ports


def _words(command: str) -> tuple[str, ...]:
    from sidecar.trial.plan import PlanError

    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise PlanError(f"--start cannot be split into words: {error}") from None


def _levels(text: str) -> tuple[int, ...]:
    from sidecar.trial.plan import PlanError

    if re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6})*", text) is None:
        raise PlanError(f"--concurrency {text!r}: write numbers with commas, as in 1,5,30")
    return tuple(map(int, text.split(",")))


def _seconds(flag: str, text: str, least: float, most: float) -> float:
    from sidecar.config.values import Complaint, duration
    from sidecar.trial.plan import PlanError

    try:
        return duration(least, most)(text)
    except Complaint as complaint:
        raise PlanError(f"{flag} {text!r} {complaint.message}") from None


def _answer(text: str) -> str:
    from sidecar.trial.plan import PlanError

    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise PlanError(f"--answer: {text[1:]} cannot be read: {cause}") from None
