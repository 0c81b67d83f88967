"""``python -m tests.matrix``: run all cells and write the page; see ``--help``."""

import argparse
import asyncio
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import aiohttp

from sidecar.testbed.processes import ProcessError
from tests.apps.clients import LIBRARIES
from tests.matrix.cells import Errand, Load, Result, run
from tests.matrix.expectations import deviations
from tests.matrix.plan import Group, groups
from tests.matrix.pods import ROOT, Pod, Users, pod
from tests.matrix.report import Row, Untested, render

_USERS = 200
_CELL_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Which part of the matrix to run; every field is a pattern."""

    server: str
    style: str
    grade: str
    terms: str

    def groups(self) -> Iterator[Group]:
        for group in groups():
            patterns = (self.server, self.grade, self.terms)
            names = (group.server.name, group.grade, group.terms)
            if all(map(fnmatch, names, patterns)):
                yield group

    def includes(self, errand: Errand) -> bool:
        return fnmatch(errand.style, self.style)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the attribution matrix.")
    parser.add_argument("--write", type=Path, help="write the page here instead of printing it")
    parser.add_argument("--server", default="*", help="only servers whose name fits this pattern")
    parser.add_argument("--style", default="*", help="only styles whose name fits this pattern")
    parser.add_argument("--grade", default="*", help="only grades that fit this pattern")
    parser.add_argument("--terms", default="*", help="usual, exclusive, linger or a pattern")
    parser.add_argument(
        "--minutes", type=float, default=60, help="what is not begun by then is untested"
    )
    options = parser.parse_args()
    began = time.monotonic()
    choice = Choice(options.server, options.style, options.grade, options.terms)
    matrix = Matrix(choice, ends_at=began + 60 * options.minutes)
    asyncio.run(matrix.run())
    page = render(matrix.rows, matrix.untested, time.monotonic() - began)
    if options.write:
        (ROOT / options.write).write_text(page)
    else:
        sys.stdout.write(page)
    return 1 if any(row.deviations for row in matrix.rows) else 0


@dataclass(slots=True)
class Matrix:
    """What has been run so far."""

    choice: Choice
    ends_at: float
    rows: list[Row] = field(default_factory=list)
    untested: list[Untested] = field(default_factory=list)

    async def run(self) -> None:
        users = Users.make(_USERS)
        for group in self.choice.groups():
            name = f"{group.server.name}, {group.grade}"
            if group.terms != "usual":
                name += f", {group.terms}"
            if time.monotonic() > self.ends_at:
                self._leave_out(name, "the time was over")
                continue
            if absent := _absent(group.server.needs):
                self._leave_out(name, f"{absent} is not installed")
                continue
            try:
                command = group.server.arguments()
                async with pod(users, command, group.grade, terms=group.terms) as running:
                    await self._run_cells(running, group)
            except ProcessError as error:
                self._leave_out(name, f"{error} ({'; '.join(error.last_lines[-2:])})")

    async def _run_cells(self, running: Pod, group: Group) -> None:
        for errand, loads in group.cells:
            if not self.choice.includes(errand) or time.monotonic() > self.ends_at:
                continue
            if absent := _absent((LIBRARIES.get(errand.client, "sys"),)):
                self._leave_out(f"{errand.client} in {group.server.name}", f"no {absent}")
                continue
            began = time.monotonic()
            result = await _bounded(running, errand, loads)
            row = Row(group.server, errand, result, deviations(errand, result))
            self.rows.append(row)
            cell = f"{group.server.name} {errand.grade} {errand.client} {errand.name}"
            cell += "" if errand.terms == "usual" else f" ({errand.terms})"
            _say(f"{cell}: {result} [{time.monotonic() - began:.1f} s]")
            for deviation in row.deviations:
                _say(f"    NOT AS EXPECTED: {deviation}")

    def _leave_out(self, what: str, why: str) -> None:
        _say(f"untested: {what}: {why}")
        if Untested(what, why) not in self.untested:
            self.untested.append(Untested(what, why))


async def _bounded(running: Pod, errand: Errand, loads: tuple[Load, ...]) -> Result:
    """A cell that hangs is a result as well."""
    try:
        async with asyncio.timeout(_CELL_SECONDS):
            return await run(running, errand, loads)
    except TimeoutError:
        return _failed(f"the cell took over {_CELL_SECONDS:g} s")
    except (ExceptionGroup, aiohttp.ClientError) as error:
        return _failed(f"the cell failed: {error!r}")


def _failed(cause: str) -> Result:
    return Result(unanswered=Counter([cause]))


def _absent(modules: tuple[str, ...]) -> str:
    return next((name for name in modules if importlib.util.find_spec(name) is None), "")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
