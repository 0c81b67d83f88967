"""When the configuration is read again, and what came of it.

Owns looking at the files, and telling. What is wrong with a configuration is ``sidecar.config``'s
to say; putting a good one in place is whoever gave *install*.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sidecar.config.load import Examination
from sidecar.config.model import Config
from sidecar.config.watching import digests

LOOK_SECONDS: Final = 1.0
"""Between two looks at the files. What was changed is read once two looks saw the same."""
RETRY_SECONDS: Final = 30.0
"""Until what was refused for reasons outside of the files is tried again."""
_MOST_SAID: Final = 20

_log = logging.getLogger("sidecar.config")

Install = Callable[[Config, Sequence[str]], Awaitable[None]]


class ReloadError(Exception):
    """A configuration cannot be used by the process that runs; the old one stays.

    *may_pass*: the cause is not in the files, so that trying again is worth while.
    """

    def __init__(self, problems: Sequence[str], *, may_pass: bool = False) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)
        self.may_pass = may_pass


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one reload."""

    result: Literal["reloaded", "refused"]
    at: float
    """Seconds since the epoch."""
    problems: tuple[str, ...] = ()
    """Why the old configuration stays, one line each."""
    warnings: tuple[str, ...] = ()


class Reloader:
    """Reads the configuration again, when its files change or somebody asks; one at a time.

    What works is only ever replaced by what works: whatever is wrong with new files, the
    configuration in use stays, and that is counted and said.
    """

    def __init__(
        self,
        examine: Callable[[], Examination],
        install: Install,
        *,
        files: Mapping[str, bytes],
        reloaded: Callable[[bool, float], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """*files* are the digests of those that the configuration in use was read from.

        *reloaded* is told of each attempt whether it was successful, and when.
        """
        self._examine = examine
        self._install = install
        self._used = dict(files)
        self._seen = self._used
        self._reloaded = reloaded
        self._sleep = sleep
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = asyncio.Lock()
        self._retry_at: float | None = None
        self.last: Outcome | None = None
        """The latest attempt, if there was one."""

    async def run(self) -> None:
        """Look at the files again and again, until cancelled."""
        while True:
            await self._sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Read the configuration again where its files have changed and come to rest."""
        now = await asyncio.to_thread(digests, self._used)
        if now == self._used:
            self._seen = now
            if self._retry_at is not None and self._clock() >= self._retry_at:
                await self.reload()
        elif now != self._seen:
            self._seen = now  # somebody may be in the middle of it
        else:
            await self.reload()

    async def reload(self) -> Outcome:
        """Read the configuration and put it in place, or say why the old one stays."""
        async with self._lock:
            outcome = await self._attempt()
            self.last = outcome
            self._reloaded(outcome.result == "reloaded", outcome.at)
            _tell(outcome)
            return outcome

    async def _attempt(self) -> Outcome:
        self._retry_at = None
        found = await asyncio.to_thread(self._examine)
        warnings = tuple(map(str, found.warnings))
        # Whatever comes of it: these files were read, and are read again when they change.
        self._used = self._seen = dict(found.files)
        if found.config is None:
            return self._refused(tuple(map(str, found.errors)))
        try:
            await self._install(found.config, warnings)
        except ReloadError as error:
            if error.may_pass:
                self._retry_at = self._clock() + RETRY_SECONDS
            return self._refused(error.problems)
        except Exception as defect:  # of ours; what works goes on
            _log.exception("the new configuration could not be put in place")
            return self._refused((f"a defect of the sidecar: {type(defect).__name__}",))
        return Outcome("reloaded", self._wall_clock(), (), warnings)

    def _refused(self, problems: Sequence[str]) -> Outcome:
        return Outcome("refused", self._wall_clock(), tuple(problems))


def _tell(outcome: Outcome) -> None:
    if outcome.result == "reloaded":
        _log.info("the new configuration is in use")
        for warning in outcome.warnings[:_MOST_SAID]:
            _log.warning("%s", warning)
        return
    _log.error(
        "the old configuration stays in use; problems in the new one: %d", len(outcome.problems)
    )
    for problem in outcome.problems[:_MOST_SAID]:
        _log.error("%s", problem)
