"""The tour: what the sidecar does, shown on real processes, sockets and tokens, and checked.

Owns the order of the steps, the verdict and what interrupts them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TextIO

import aiohttp

from sidecar.demo import serving
from sidecar.demo.checks import Miss
from sidecar.demo.moved_metrics import moved_metrics
from sidecar.demo.ports import Ports
from sidecar.demo.refusals import refusals
from sidecar.demo.stage import Stage, StageError, stage
from sidecar.demo.steps import background_calls, many_calls, one_call
from sidecar.demo.story import Story
from sidecar.testbed.interruption import terminable
from sidecar.testbed.processes import SIDECAR, ProcessError

Step = Callable[[Stage, Story], Awaitable[list[Miss]]]

_STEPS: Final[tuple[tuple[str, str, Step], ...]] = (
    ("One call", "alice's identity reached profile-service; no service saw a token", one_call),
    ("Many users at once", "every call reached profile-service as its own user", many_calls),
    ("What must be refused", "each was refused for its own reason", refusals),
    ("Calls without a request", "nobody's identity was borrowed", background_calls),
    ("The metrics that moved", "the metrics tell the same story", moved_metrics),
)

_STOPPED: Final = 130
"""Exit code after Ctrl-C, by the convention of shells."""


def run(
    *,
    serve: bool,
    output: TextIO,
    ports: Ports | None = None,
    user_sidecar_command: Sequence[str] = SIDECAR,
) -> int:
    """Give the tour and return the exit code: 0 only if every step held.

    With *serve*, everything stays up afterwards until Ctrl-C or SIGTERM. *ports* defaults to the
    README's, with others in place of those in use. *user_sidecar_command* lets a worse sidecar
    stand in beside user-service, to see that the tour can fail.
    """
    story = Story(output)
    try:
        return asyncio.run(_tour(story, ports, user_sidecar_command, serve=serve))
    except (KeyboardInterrupt, asyncio.CancelledError):
        story.say("stopped")
        return _STOPPED
    except StageError as error:
        story.failed(str(error))
        return 1
    except ProcessError as error:
        story.failed(f"{error}; its last lines:" if error.last_lines else f"{error}, silently")
        for line in error.last_lines:
            story.verbatim(f"  {line}")
        return 1


async def _tour(
    story: Story, ports: Ports | None, user_sidecar_command: Sequence[str], *, serve: bool
) -> int:
    began = time.monotonic()
    with terminable():
        story.heading("Starting two services, a sidecar beside each, and an identity provider")
        chosen = ports or _usual_ports(story)
        async with stage(story, chosen, user_sidecar_command=user_sidecar_command) as running:
            story.say(f"ready after {time.monotonic() - began:.1f} s")
            missed = [
                (number, title)
                for number, (title, success, step) in enumerate(_STEPS, start=1)
                if not await _step(running, story, f"{number}. {title}", success, step)
            ]
            _verdict(story, missed, time.monotonic() - began)
            if serve:
                await serving.serve(story, running)
    return 1 if missed else 0


async def _step(stage: Stage, story: Story, title: str, success: str, step: Step) -> bool:
    story.heading(title)
    try:
        misses = await step(stage, story)
    except (aiohttp.ClientError, TimeoutError) as error:
        misses = [Miss("the step", "answers", type(error).__name__)]
    stage.check()
    for miss in misses:
        story.failed(str(miss))
    if not misses:
        story.held(success)
    return not misses


def _verdict(story: Story, missed: list[tuple[int, str]], seconds: float) -> None:
    story.heading(f"The tour took {seconds:.1f} s")
    if missed:
        named = ", ".join(f"{number} ({title.lower()})" for number, title in missed)
        story.failed(f"did not hold: step {named}")
    else:
        story.held("every step held")


def _usual_ports(story: Story) -> Ports:
    usual = Ports()
    taken = usual.taken()
    if taken:
        story.say(f"in use already, so others instead: port {', '.join(map(str, taken))}")
    return usual.without(taken)
