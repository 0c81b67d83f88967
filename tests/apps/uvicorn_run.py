"""Run an ASGI app on uvicorn, with the choice of loop and protocol."""

import argparse
import logging
from typing import Any

import uvicorn

from . import ports


def parser() -> argparse.ArgumentParser:
    known = ports.parser()
    known.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    known.add_argument("--http", choices=["h11", "httptools"], default="h11")
    known.add_argument("--middleware", action="store_true")
    known.add_argument("--endpoint", choices=["async", "sync"], default="async")
    return known


def run(app: Any, options: argparse.Namespace) -> None:
    logging.disable()
    config = uvicorn.Config(app, loop=options.loop, http=options.http, log_config=None)
    uvicorn.Server(config).run(sockets=[ports.bind(options.port)])
