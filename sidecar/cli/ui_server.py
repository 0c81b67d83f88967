"""The life of ``sidecar ui``: ask once, listen, open the browser, wait for Ctrl-C."""

import asyncio
import os
import secrets
import signal
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sidecar.admin.live import LIVE_PATH
from sidecar.cli.bridge import Bridge
from sidecar.cli.control_channel import Channel
from sidecar.cli.control_client import ControlError

_SECRET_BYTES: Final = 24
_OK: Final = 200
_NOT_FOUND: Final = 404


async def serve(
    channel: Channel, *, port: int, opens: bool, say: Callable[[str], object]
) -> None:
    """Serve the page of the sidecar at the other end of *channel* until a signal.

    Raises:
        ControlError: it does not answer now. Later that is for the page to say, and to get over.
        OSError: the port cannot be had.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    bridge = Bridge(channel, make_secret=lambda: secrets.token_urlsafe(_SECRET_BYTES))
    try:
        await asyncio.to_thread(_check, channel)
        await bridge.start(port)
        say(f"The live page is at {bridge.url}")
        with _shortcut(bridge.url) as shortcut:
            if opens and not await asyncio.to_thread(_open, shortcut):
                say("No browser could be opened: open that address yourself.")
            say("Ctrl-C ends it.")
            await stopped.wait()
    finally:
        await bridge.stop()


def _check(channel: Channel) -> None:
    answer = channel.ask(LIVE_PATH)
    if answer.status == _NOT_FOUND:
        raise ControlError("this sidecar has no live page: it is of an older version")
    if answer.status != _OK:
        raise ControlError(f"it says {answer.status}: {answer.content[:200].decode(errors='replace')}")


@contextmanager
def _shortcut(url: str) -> Iterator[Path]:
    """A file that leads to *url*: every user of the machine can read the arguments of a browser."""
    with tempfile.TemporaryDirectory(prefix="sidecar-ui-") as directory:  # mode 0700
        path = Path(directory, "open.html")
        path.touch(mode=0o600)
        path.write_text(
            f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={url}">'
            f'<title>jwt-sidecar</title><p><a href="{url}">Open the live page</a></p>\n',
            encoding="utf-8",
        )
        yield path


def _open(path: Path) -> bool:
    # Without a display, Python would start a browser of the terminal, in front of our own words.
    if sys.platform != "darwin" and not any(
        map(os.environ.get, ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))
    ):
        return False
    with suppress(webbrowser.Error, OSError):
        return webbrowser.open(path.as_uri())
    return False
