"""Hold a configuration to expectations: every case judged, every difference told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sidecar.config.problems import Problem, nearest, quoted
from sidecar.core.outcome import Denial
from sidecar.core.principal import Principal
from sidecar.rehearsal.expectations import Case, Expectation, Expectations
from sidecar.rehearsal.judging import Asked, Judge, Verdict, refused
from sidecar.rehearsal.tokens import TokenDesk


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one case."""

    case: Case
    verdict: Verdict

    @property
    def passed(self) -> bool:
        return agrees(self.case.expect, self.verdict)


@dataclass(frozen=True, slots=True)
class TestRun:
    """What came of all cases. *uncovered*: rules under which none of them fell."""

    __test__ = False  # no test of pytest's

    results: tuple[Result, ...]
    rules: tuple[str, ...]
    uncovered: tuple[str, ...]

    @property
    def failed(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if not result.passed)


def agrees(expected: Expectation, verdict: Verdict) -> bool:
    """Whether *verdict* is what was *expected*. What is only observed is allowed, too."""
    if expected.rule and expected.rule != verdict.rule:
        return False
    if expected.reason and expected.reason != verdict.reason:
        return False
    match expected.outcome:
        case "allowed":
            return verdict.allowed
        case "observed":
            return verdict.observed
        case _:
            return not verdict.allowed


def misfits(files: Iterable[Expectations], judge: Judge) -> Sequence[Problem]:
    """Return what the files name and the configuration does not have, or leaves open."""
    problems: list[Problem] = []

    def add(file: str, line: int, column: int, path: str, message: str, meant: str | None) -> None:
        problems.append(Problem(file, line, column, path, message, meant))

    for file in files:
        for name, token in file.tokens.items():
            at, path = file.token_places[name], f"tokens.{name}.issuer"
            if token.issuer and token.issuer not in judge.issuers:
                message = f"{quoted(token.issuer)} is none of the configuration's `issuers`"
                meant = nearest(token.issuer, judge.issuers)
                add(at.file, at.line, at.column, path, message, meant)
            elif not token.issuer and len(judge.issuers) != 1:
                message = f"is needed, because the configuration has {len(judge.issuers)} issuers"
                add(at.file, at.line, at.column, path, message, None)
        for case in file.cases:
            rule = case.expect.rule
            if rule and rule not in judge.rule_names:
                at, message = case.place, f"{quoted(rule)} is no rule of the configuration"
                meant = nearest(rule, judge.rule_names)
                add(at.file, at.line, at.column, "expect", message, meant)
    return problems


def run_tests(files: Iterable[Expectations], judge: Judge, *, now: float) -> TestRun:
    """Judge every case; *now* is the time for files that fix none."""
    desk = TokenDesk(judge.issuers, max_token_bytes=judge.config.inbound.max_token_bytes)
    results: list[Result] = []
    for file in files:
        at = now if file.now is None else file.now
        callers = {name: desk.read(name, token, at) for name, token in file.tokens.items()}
        results += (Result(case, _judged(case, callers, judge, at)) for case in file.cases)
    reached = {result.verdict.rule for result in results}
    uncovered = tuple(name for name in judge.rule_names if name not in reached)
    return TestRun(tuple(results), judge.rule_names, uncovered)


def _judged(
    case: Case, callers: Mapping[str, Principal | Denial], judge: Judge, now: float
) -> Verdict:
    method, target = case.request
    path = target.partition("?")[0].encode()
    found = judge.find(Asked(method.encode(), path, case.host.encode(), now))
    if isinstance(found, Denial):
        return refused(found)
    caller = callers[case.token] if case.token else None
    if not found.rule.looks_at_tokens:
        caller = None
    if isinstance(caller, Denial):
        return refused(caller, found.rule.name)
    return judge.authorize(found, caller, now)
