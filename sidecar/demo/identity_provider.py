"""The embedded identity provider as a program of its own, for the demo on Kubernetes. DEMO ONLY.

Whoever can reach it gets a token of anybody's: the passwords are public.
"""

import argparse
import asyncio
import signal
from collections.abc import Sequence

from sidecar.demo.configurations import AUDIENCES
from sidecar.testbed.identity_provider import IdentityProvider


async def serve(host: str, port: int, issuer: str | None) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises ``OSError`` when it cannot listen."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    provider = IdentityProvider(audience=AUDIENCES, host=host, port=port, issuer=issuer)
    async with provider:
        address = ":".join(map(str, provider.address))
        print(f"identity provider (demo only): listening on {address}", flush=True)
        print(f"issuer {provider.issuer}", flush=True)
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="An identity provider for demos: its users' passwords are public."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0: the kernel chooses")
    parser.add_argument("--issuer", metavar="URL", help="what tokens say in `iss`")
    given = parser.parse_args(arguments)
    asyncio.run(serve(given.host, given.port, given.issuer))


if __name__ == "__main__":
    main()
