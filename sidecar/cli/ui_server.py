"""The life of ``sidecar ui``: ask once, listen, open the browser, wait for Ctrl-C."""

import asyncio
import os
import secrets
import signal
import sys
import tempfile
import threading
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
_OPEN_SECONDS: Final = 3.0
_OK: Final = 200
_NOT_FOUND: Final = 404


async def serve(channel: Channel, *, port: int, opens: bool, say: Callable[[str], object]) -> None:
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
    waiting = asyncio.create_task(stopped.wait())
    try:
        asked = loop.create_task(asyncio.to_thread(_check, channel))
        await asyncio.wait({asked, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if stopped.is_set():
            channel.interrupt()
            with suppress(ControlError):
                await asked
            return
        await asked
        await bridge.start(port)
        say(f"The live page is at {bridge.url}")
        with _shortcut(bridge.url) as shortcut:
            if opens and not await _opened(shortcut):
                say("No browser could be opened: open that address yourself.")
            say("Ctrl-C ends it.")
            await waiting
    finally:
        waiting.cancel()
        await bridge.stop()


def _check(channel: Channel) -> None:
    answer = channel.ask(LIVE_PATH)
    if answer.status == _NOT_FOUND:
        raise ControlError("this sidecar has no live page: it is of an older version")
    if answer.status != _OK:
        raise ControlError(
            f"it says {answer.status}: {answer.content[:200].decode(errors='replace')}"
        )


@contextmanager
def _shortcut(url: str) -> Iterator[Path]:
    """A file that leads to *url*: every user of the machine can read the arguments of a browser."""
    with tempfile.TemporaryDirectory(prefix="sidecar-ui-") as directory:  # mode 0700
        path = Path(directory, "open.html")
        path.touch(mode=0o600)
        path.write_text(
            '<!doctype html><meta charset="utf-8"><title>jwt-sidecar</title>'
            f'<meta http-equiv="refresh" content="0;url={url}">'
            f'<p><a href="{url}">Open the live page</a></p>\n',
            encoding="utf-8",
        )
        yield path


async def _opened(path: Path) -> bool:
    """Whether a browser was started. One that is waited for, as some are, counts as started."""
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(_open(path)), daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, _OPEN_SECONDS)
    return not results or results[0]


def _open(path: Path) -> bool:
    # Without a display, Python would start a browser of the terminal, in front of our own words.
    if sys.platform != "darwin" and not any(
        map(os.environ.get, ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))
    ):
        return False
    with suppress(webbrowser.Error, OSError):
        return webbrowser.open(path.as_uri())
    return False
