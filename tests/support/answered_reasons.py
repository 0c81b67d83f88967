"""With ``--all-reasons``: a whole run of the tests fails if a reason was never answered in it.

Owns the record of which reasons the sidecar's own code answered with, over all processes of the
run. A run that leaves tests out (``-k``, a path, one that stopped early) proves nothing and is not
judged. Answers of sidecars that are processes of their own are not seen: a reason should be
produced where its cause is.
"""

import sys
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final

import pytest

OPTION: Final = "--all-reasons"
_OUTPUT: Final = "answered_reasons"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        OPTION,
        action="store_true",
        help="fail a whole run in which some reason of refusal was never answered",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(OPTION):
        config.pluginmanager.register(AnsweredReasons(config), "answered-reasons")


class AnsweredReasons:
    """Listens where refusals are written."""

    def __init__(self, config: pytest.Config) -> None:
        from sidecar.wire import answers as module

        answers: Any = module
        self._config = config
        self.codes: set[str] = set()
        written = answers.problem_lines

        def heard(denial: Any, **options: Any) -> bytes:
            # Two frames up is who refused; a test that writes an answer of its own is not.
            if sys._getframe(2).f_globals["__name__"].startswith("sidecar."):
                self.codes.add(denial.reason.code)
            lines: bytes = written(denial, **options)
            return lines

        answers.problem_lines = heard

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        self.codes |= set(getattr(node, "workeroutput", {}).get(_OUTPUT, ()))

    # Last, because the controller of pytest-xdist hears of its workers in this very hook.
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_OUTPUT] = sorted(self.codes)
        elif exitstatus == pytest.ExitCode.OK and is_whole(self._config):
            missing = never_answered(self.codes)
            if missing:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
                self._config.pluginmanager.register(_Verdict(missing))


class _Verdict:
    """Says it where the failures are said."""

    def __init__(self, missing: list[str]) -> None:
        self._missing = missing

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("reasons that no test had the sidecar answer with", red=True)
        for code in self._missing:
            terminalreporter.line(
                f"{code}: add a test that produces it, or list it among RESERVED in "
                "sidecar/core/reason_texts.py"
            )


def never_answered(codes: AbstractSet[str]) -> list[str]:
    """Return the reasons that should have been among *codes*, in their own order."""
    from sidecar.core.outcome import Reason
    from sidecar.core.reason_texts import RESERVED

    return [r.code for r in Reason if r not in RESERVED and r.code not in codes]


def is_whole(config: pytest.Config) -> bool:
    """Whether nothing was left out but what the Makefile runs apart, in processes of its own."""
    options = config.option
    chosen = options.keyword or options.markexpr or options.deselect or options.ignore_glob
    again = getattr(options, "lf", False) or getattr(options, "stepwise", False)
    left_out = {Path(path).name for path in options.ignore or ()}
    return (
        not (chosen or again or options.collectonly)
        and config.args_source is pytest.Config.ArgsSource.TESTPATHS
        and left_out <= programs()
    )


def programs() -> frozenset[str]:
    """Return the directories of ``PROGRAMS`` in the Makefile."""
    text = (Path(__file__).parents[2] / "Makefile").read_text().replace("\\\n", " ")
    (line,) = [each for each in text.splitlines() if each.startswith("PROGRAMS")]
    return frozenset(line.partition("tests/,")[2].rstrip(")").split())
