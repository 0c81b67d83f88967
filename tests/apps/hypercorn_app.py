"""Starlette on hypercorn."""

import asyncio
import logging

from hypercorn.asyncio import serve
from hypercorn.config import Config

from . import ports, starlette_app

if __name__ == "__main__":
    parser = ports.parser()
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    options = parser.parse_args()
    logging.disable()
    config = Config()
    config.bind = [f"fd://{ports.bind(options.port).detach()}"]
    main = serve(starlette_app.build(middleware=True), config)
    if options.loop == "uvloop":
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)
