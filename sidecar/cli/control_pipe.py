"""``sidecar control-pipe``: standard input and output are a control socket, while both last.

What `sidecar ui --pod` runs in the pod, because a Unix socket cannot be forwarded like a port.
"""

import os
import selectors
import socket
import sys

import click

from sidecar.cli.control_option import NO_ANSWER, VARIABLE, socket_path

IMAGE_CONFIG = "/etc/sidecar/config.yaml"
"""Where the image's sidecar reads its configuration, unless told otherwise."""

_CHUNK_BYTES = 65536
_LAST_ANSWER_SECONDS = 5.0
"""When nobody asks any more, what is still being answered has so long."""


@click.command("control-pipe", hidden=True)
@click.option("--control", metavar="PATH")
@click.option("--config", "-c", "paths", multiple=True, metavar="FILE")
@click.pass_context
def command(ctx: click.Context, control: str | None, paths: tuple[str, ...]) -> None:
    """Join standard input and output to the control socket of the sidecar that runs here."""
    from sidecar.cli.control_client import cause
    from sidecar.config.problems import printable

    if control is None and not (paths or os.environ.get(VARIABLE)) and os.path.exists(IMAGE_CONFIG):
        paths = (IMAGE_CONFIG,)
    path = socket_path(ctx, control, paths)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
        except OSError as error:
            click.echo(
                printable(f"sidecar: cannot ask the sidecar: {cause(path, error)}"), err=True
            )
            ctx.exit(NO_ANSWER)
        try:
            _join(connection, sys.stdin.fileno(), sys.stdout.fileno())
        except OSError:
            ctx.exit(NO_ANSWER)  # one of the two has gone, and with it whoever would read why


def _join(connection: socket.socket, given: int, told: int) -> None:
    patience: float | None = None
    with selectors.DefaultSelector() as ready:
        ready.register(given, selectors.EVENT_READ)
        ready.register(connection, selectors.EVENT_READ)
        while events := ready.select(patience):
            for key, _ in events:
                if key.fileobj is connection:
                    data = connection.recv(_CHUNK_BYTES)
                    if not data:
                        return
                    _write(told, data)
                elif data := os.read(given, _CHUNK_BYTES):
                    connection.sendall(data)
                else:
                    ready.unregister(given)
                    connection.shutdown(socket.SHUT_WR)
                    patience = _LAST_ANSWER_SECONDS


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
