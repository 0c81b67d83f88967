"""``--serve``: the tour's programs stay up, and a person with curl takes over."""

import asyncio
import signal
from contextlib import suppress
from typing import Final

from sidecar.demo.stage import Stage
from sidecar.demo.story import Story
from sidecar.testbed.users import ALICE

_CHECK_SECONDS: Final = 0.5
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def serve(story: Story, stage: Stage) -> None:
    """Invite to try it, and wait for Ctrl-C or SIGTERM.

    Raises ``ProcessError`` when something ends before that.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOPPING:
        # For good: a second Ctrl-C must not interrupt the stopping, which is bounded anyway.
        loop.add_signal_handler(number, stopped.set)
    _invite(story, stage)
    while not stopped.is_set():
        stage.check()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_SECONDS):
                await stopped.wait()
    story.say("stopping")


def _invite(story: Story, stage: Stage) -> None:
    """Print lines to copy. Tokens appear in them only as what the shell will put there."""
    url = f"{stage.users_url}/users/alice"
    user_admin, profile_admin = (each.listener("admin") for each in stage.sidecars)
    story.heading("Still running; try it from another terminal, and end it here with Ctrl-C")
    for title, command in (
        ("get a token of alice's (good for five minutes)", _token_command(stage)),
        ("call with it", f'curl -si {url} -H "Authorization: Bearer $TOKEN"'),
        ("call without: refused", f"curl -si {url}"),
        (
            "call as alice what needs the role ADMIN, past user-service",
            f'curl -si {stage.profiles_url}/admin/profiles -H "Authorization: Bearer $TOKEN"',
        ),
        (
            "go around the sidecar: the service answers, its own call is refused",
            f"curl -si http://{stage.user_service}/users/alice",
        ),
        ("see what was refused, by reason", _metrics_command(user_admin)),
        ("and at profile-service's sidecar", _metrics_command(profile_admin)),
        ("read the two configuration files", f"head -50 {stage.directory}/*.yaml"),
    ):
        story.verbatim(f"# {title}")
        story.verbatim(command)


def _token_command(stage: Stage) -> str:
    form = f"-d grant_type=password -d username={ALICE.name} -d password={ALICE.password}"
    pick = "import sys, json; print(json.load(sys.stdin)['access_token'])"
    return f'TOKEN=$(curl -s {stage.provider.token_url} {form} | python3 -c "{pick}")'


def _metrics_command(address: str) -> str:
    return f"curl -s http://{address}/metrics | grep -E '^sidecar_(rejections|attributions)_total'"
