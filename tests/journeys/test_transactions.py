"""A transaction token from the edge to the last service: the very same, and nobody else's."""

import asyncio
import random
from pathlib import Path

from sidecar.config.model import Origin, TransactionTokens
from tests.support.http import Request, fetch
from tests.support.pod import Pod, pod
from tests.support.transactions import TransactionMint

USERS = [f"user{number}" for number in range(100)]
REQUIRED = {"transaction_tokens": TransactionTokens("tts", require=True)}


async def serve(near: Pod, request: Request, rng: random.Random) -> None:
    """Be the near app: call the next service twice, as whoever asked, while others do."""
    user = request.target.rpartition("/")[2]
    for _ in range(2):
        for _ in range(rng.randrange(5)):
            await asyncio.sleep(0)
        assert (await near.call_out(request.handle, f"/users/{user}")).status == 200
    request.answer()


async def test_a_hundred_users_at_once_and_never_anothers(tmp_path: Path) -> None:
    """Caller, sidecar, app, sidecar, the next pod's sidecar, which demands one too, its app: each
    call arrives with the access token and the transaction of the request that caused it.
    """
    tts, rng = TransactionMint(), random.Random(7)
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
    async with pod(tmp_path / "far", transactions=tts, inbound=REQUIRED) as far:
        upstream = Origin("http", far.bound.inbound.host, far.bound.inbound.port)
        async with pod(
            tmp_path / "near", automatic=False, mint=far.mint, transactions=tts, inbound=REQUIRED,
            destination={"upstream": upstream, "transaction_token": "pass"},
        ) as near:  # fmt: skip

            async def app() -> None:
                async with asyncio.TaskGroup() as group:
                    while True:
                        group.create_task(serve(near, await near.app.next(), rng))

            async def call(user: str) -> int:
                transaction = tts.transaction(f"internal-{user}", txn=f"txn-{user}")
                answer = await fetch(
                    near.bound.inbound, f"/users/{user}", bearer=near.mint.token(user),
                    fields=[("Txn-Token", transaction)],
                )  # fmt: skip
                return answer.status

            serving = asyncio.create_task(app())
            assert await asyncio.gather(*map(call, USERS)) == [200] * len(USERS)
            serving.cancel()
            await asyncio.wait((serving,))
            arrived = [
                (
                    request.target.rpartition("/")[2],
                    request.values("x-auth-subject"),
                    request.values("x-auth-transaction"),
                )
                for request in far.app.received
            ]
    assert len(arrived) == 2 * len(USERS)
    wrong = [each for each in arrived if each[1:] != ([each[0]], [f"txn-{each[0]}"])]
    assert wrong == []


async def test_the_destination_gets_exactly_the_bytes_that_came_in(tmp_path: Path) -> None:
    """Unmodified, as the draft has it, whatever else is in the token."""
    tts = TransactionMint()
    async with pod(
        tmp_path, automatic=False, transactions=tts, destination={"transaction_token": "pass"}
    ) as running:
        transaction = tts.transaction("alice", rctx={"req_ip": "69.151.72.123"}, more=["x"] * 20)
        asking = asyncio.create_task(
            fetch(
                running.bound.inbound, "/users/alice", bearer=running.mint.token("alice"),
                fields=[("TXN-Token", transaction)],
            )
        )  # fmt: skip
        request = await running.app.next()
        calling = asyncio.create_task(running.call_out(request.handle))
        received = await running.destination.next()
        received.answer()
        assert (await calling).status == 200
        assert received.values("txn-token") == [transaction]
        request.answer()
        assert (await asking).status == 200
