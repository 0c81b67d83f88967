"""aiohttp.web on asyncio."""

import asyncio
import sys

from aiohttp import web

from tests.apps.work import respond_async


async def handle(request: web.Request) -> web.Response:
    status, content = await respond_async(request.raw_path)
    return web.Response(status=status, body=content, content_type="application/json")


async def main() -> None:
    application = web.Application()
    application.router.add_get("/{target:.*}", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]), backlog=256).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
