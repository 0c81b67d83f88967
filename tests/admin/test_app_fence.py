"""Whether an app can be reached past its sidecar: 127.0.0.2 stands for the pod's own address."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.admin.app_fence import LOOK_SECONDS, SOON_SECONDS, AppFence, pod_addresses
from sidecar.config.model import Address, Origin
from tests.admin.test_control import ASK, exchange
from tests.support.http import fetch
from tests.support.pod import Pod, pod

POD = "127.0.0.2"


@asynccontextmanager
async def app_on(*hosts: str, port: int = 0) -> AsyncIterator[int]:
    """Listen on *hosts* and yield the port; whoever connects is hung up on."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    servers = []
    for host in hosts:
        servers.append(await asyncio.start_server(serve, host, port))
        port = servers[-1].sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        for server in servers:
            server.close()


class Fence(AppFence):
    """One whose words are kept, and who counts what it sleeps."""

    def __init__(
        self, port: int, addresses: Sequence[str] = (POD,), *, ours: Sequence[Address] = ()
    ) -> None:
        self.said: list[str] = []
        self.slept: list[float] = []
        super().__init__(
            Address("127.0.0.1", port),
            addresses,
            is_ours=lambda address: address in ours,
            warn=lambda line: self.said.append(f"warning: {line}"),
            tell=self.said.append,
            sleep=self._note,
        )

    async def _note(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == 3:
            raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("hosts", "exposed"),
    [(("127.0.0.1",), False), (("127.0.0.1", POD), True), (("0.0.0.0",), True)],
)
async def test_the_verdict(hosts: tuple[str, ...], exposed: bool) -> None:
    """Loopback alone is fenced; the pod's address, or every address, is not."""
    async with app_on(*hosts) as port:
        fence = Fence(port)
        assert await fence.look()
        assert (fence.exposed, fence.where) == (exposed, (f"{POD}:{port}",) if exposed else ())


async def test_ipv6() -> None:
    """An address of either family counts."""
    try:
        async with app_on("127.0.0.1", "::1") as port:
            fence = Fence(port, (POD, "::1"))
            await fence.look()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert fence.where == (f"[::1]:{port}",)


async def test_an_app_that_is_not_there_says_nothing() -> None:
    """Refused is not fenced: it may not have started. What was found out before stands."""
    async with app_on("127.0.0.1", POD) as port:
        fence = Fence(port)
        await fence.look()
    assert not await fence.look()
    assert fence.exposed is True
    fresh = Fence(port)
    assert not await fresh.look()
    assert fresh.exposed is None
    assert fresh.warning() is None
    async with app_on(POD, port=port):  # somebody else's
        assert not await fresh.look()
        assert fresh.exposed is None


async def test_where_we_listen_is_not_the_apps() -> None:
    """The sidecar may have the app's port on the pod's address, in front of it."""
    async with app_on("127.0.0.1", POD) as port:
        fence = Fence(port, ours=(Address(POD, port),))
        await fence.look()
        assert fence.exposed is False


async def test_it_is_said_once_per_change() -> None:
    """Looking each minute does not fill the log."""
    async with app_on("127.0.0.1") as port:
        fence = Fence(port)
        async with app_on(POD, port=port):
            for _ in range(3):
                await fence.look()
            exposed = (
                f"the app answers on {POD}:{port}, past the sidecar: bind it to 127.0.0.1, or "
                "nothing checks who calls it there"
            )
            assert fence.warning() == exposed
        for _ in range(3):
            await fence.look()
    assert fence.said == [f"warning: {exposed}", f"the app no longer answers on {POD}:{port}"]
    assert fence.warning() is None


async def test_looks_come_soon_and_then_each_minute() -> None:
    """Until the app answers there is little to lose by looking; afterwards little to gain."""
    async with app_on("127.0.0.1") as port:
        known = Fence(port)
        with pytest.raises(asyncio.CancelledError):
            await known.run()
    unknown, nowhere = Fence(port), Fence(port, ())
    with pytest.raises(asyncio.CancelledError):
        await unknown.run()
    await nowhere.run()
    assert known.slept == [LOOK_SECONDS] * 3
    assert unknown.slept == [SOON_SECONDS] * 3
    assert nowhere.slept == []


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("10.1.2.3", ("10.1.2.3",)),
        ("10.1.2.3,fd00::0:1", ("10.1.2.3", "fd00::1")),
        (" 10.1.2.3 , x, 10.1.2.3,,1.2.3", ("10.1.2.3",)),
        (",".join(f"10.0.0.{n}" for n in range(99)), tuple(f"10.0.0.{n}" for n in range(16))),
    ],
)
def test_the_pods_addresses(written: str, expected: tuple[str, ...]) -> None:
    """As the Downward API writes them; what is none is passed over, and there is a bound."""
    assert pod_addresses({"SIDECAR_POD_IPS": written}) == expected


def test_the_machines_own_addresses() -> None:
    """Without the variable, or with nothing in it, they are those that others would see."""
    own = pod_addresses({})
    assert own == pod_addresses({"SIDECAR_POD_IPS": "pod"})
    assert not any(each.startswith("127.") or each == "::1" for each in own)


# --- in a pod ---


async def ready(running: Pod) -> tuple[int, str]:
    answer = await fetch(running.bound.admin, "/readyz")
    return answer.status, answer.body.decode()


async def looked(running: Pod) -> None:
    assert running.sidecar.fence is not None
    await running.sidecar.fence.look()


async def test_readiness_requires_the_fence(tmp_path: Path) -> None:
    """Not known, exposed, fenced: the second and third with a metric, only the last is ready."""
    async with app_on("127.0.0.1") as port:
        pass
    origin = Origin("http", "127.0.0.1", port)
    async with pod(
        tmp_path,
        inbound={"app": origin, "require_fenced": True},
        addresses=(POD,),
        control=tmp_path / "c.sock",
    ) as running:
        status, missing = await ready(running)
        assert (status, missing) == (
            503,
            f"app: {origin.address} has not answered yet, and may answer past the sidecar too "
            "(inbound.require_fenced)\n",
        )
        assert "sidecar_app_exposed " not in await running.metrics()
        assert (await fetch(running.bound.admin, "/startupz")).status == 200
        async with app_on("127.0.0.1", POD, port=port):
            await looked(running)
            status, missing = await ready(running)
            assert (status, missing) == (
                503,
                f"app: answers on {POD}:{port}, past the sidecar: bind it to 127.0.0.1, or nothing "
                "checks who calls it there (inbound.require_fenced)\n",
            )
            assert "\nsidecar_app_exposed 1.0\n" in await running.metrics()
            told = (await exchange(tmp_path / "c.sock", ASK)).decode()
            assert f"the app answers on {POD}:{port}, past the sidecar" in told
        async with app_on("127.0.0.1", port=port):
            await looked(running)
            assert await ready(running) == (200, "ready\n")
            assert "\nsidecar_app_exposed 0.0\n" in await running.metrics()


async def test_without_the_requirement_it_is_only_told(tmp_path: Path) -> None:
    """A pod whose app is exposed is ready, unless it says that it must not be."""
    async with pod(tmp_path, addresses=("127.0.0.1",)) as running:
        await looked(running)
        assert await ready(running) == (200, "ready\n")
        assert "\nsidecar_app_exposed 1.0\n" in await running.metrics()


async def test_no_address_to_look_at(tmp_path: Path) -> None:
    """What cannot be found out is not taken for granted."""
    async with pod(tmp_path, inbound={"require_fenced": True}, addresses=()) as running:
        status, missing = await ready(running)
        assert (status, missing) == (
            503,
            "app: no address of this pod is known, set SIDECAR_POD_IPS (inbound.require_fenced)\n",
        )


async def test_a_pod_without_callers_has_nothing_to_fence(tmp_path: Path) -> None:
    """Nor has one whose app is elsewhere: no verdict, no metric, and ready."""
    async with pod(
        tmp_path, inbound={"listen": None, "require_fenced": True}, addresses=(POD,)
    ) as running:
        assert await ready(running) == (200, "ready\n")
        assert "sidecar_app_exposed " not in await running.metrics()
