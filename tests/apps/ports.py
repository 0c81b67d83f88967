"""The port a program listens on: given on the command line, printed when it is known."""

import argparse
import socket
import sys


def parser() -> argparse.ArgumentParser:
    known = argparse.ArgumentParser()
    known.add_argument("port", type=int)
    return known


def bind(port: int) -> socket.socket:
    """Listen on *port* and say so. Whoever connects from now on waits until he is served."""
    listener = socket.create_server(("127.0.0.1", port), backlog=256)
    announce(listener.getsockname()[1])
    return listener


def announce(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
