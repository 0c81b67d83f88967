"""Requests that an app is working on, and the calls it makes meanwhile."""

import asyncio

from tests.support.http import Fields, Request, Response, fetch
from tests.support.pod import Pod


class Inflight:
    """An inbound request that the app is still working on."""

    def __init__(self, request: Request, answer: "asyncio.Task[Response]") -> None:
        self.request = request
        self.answer = answer

    @property
    def handle(self) -> str:
        """The handle the app was given."""
        return self.request.handle

    async def end(self) -> None:
        """Let the app answer."""
        self.request.answer()
        assert (await self.answer).status == 200


async def arrive(
    running: Pod, token: str | None, target: str = "/users/x", fields: Fields = ()
) -> Inflight:
    """Send a request in and wait until the app has it."""
    answer = asyncio.create_task(fetch(running.bound.inbound, target, bearer=token, fields=fields))
    return Inflight(await running.app.next(), answer)


async def call(running: Pod, handle: str | None) -> tuple[Response, Request | None]:
    """Call out as an app with the strict carrier does, and return both sides."""
    fields = [("x-sidecar-carrier", "python/0.1; grade=strict")]
    if handle is not None:
        fields.append(("x-sidecar-context", handle))
    return await call_with(running, fields)


async def call_with(
    running: Pod, fields: Fields, bearer: str | None = None
) -> tuple[Response, Request | None]:
    """Call out with *fields*, let the destination answer, and return both sides."""
    pending = asyncio.create_task(
        fetch(running.bound.outbound["profiles"], "/profiles/x", fields=fields, bearer=bearer)
    )
    received = asyncio.create_task(running.destination.next())
    await asyncio.wait((pending, received), return_when=asyncio.FIRST_COMPLETED)
    if received.done():
        received.result().answer()
        return await pending, received.result()
    received.cancel()
    return await pending, None
