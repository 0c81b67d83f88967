"""A transaction token from the edge to the last service: the very same, and nobody else's."""

import asyncio
import random
from pathlib import Path

from sidecar.config.model import Client, Origin, TransactionTokens
from sidecar.core.token_request import TRANSACTION_TOKEN, TokenRequest
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.users import SERVICES
from tests.support.http import Request, fetch
from tests.support.pod import AUDIENCE, TRUST_DOMAIN, Pod, pod
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


async def test_one_that_is_asked_for_at_the_edge_lets_in_at_the_next_service(
    tmp_path: Path,
) -> None:
    """Callers come with access tokens alone; the next pod demands a transaction token, and judges
    what a real token service issued for the edge.
    """
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
    async with IdentityProvider(audience=[AUDIENCE], algorithms=("ES256",)) as tts:
        client = Client(
            "tts",
            SERVICES[0].client_id,
            token_endpoint=tts.token_url,
            client_secret=SERVICES[0].client_secret,
        )
        async with pod(
            tmp_path / "far", mint=tts.mint, transactions=tts.mint, inbound=REQUIRED
        ) as far:
            upstream = Origin("http", far.bound.inbound.host, far.bound.inbound.port)
            async with pod(
                tmp_path / "near", automatic=False, mint=tts.mint, clients=[client],
                destination={
                    "upstream": upstream,
                    "transaction_token": "request",
                    "transaction_request": TokenRequest(
                        "tts", "exchange", audience=(TRUST_DOMAIN,), scopes=("profile.read",),
                        requested_type=TRANSACTION_TOKEN,
                    ),
                },
            ) as near:  # fmt: skip
                users = USERS[:20]

                async def app() -> None:
                    rng = random.Random(3)
                    async with asyncio.TaskGroup() as group:
                        while True:
                            group.create_task(serve(near, await near.app.next(), rng))

                async def call(user: str) -> int:
                    token = near.mint.token(user)
                    return (await fetch(near.bound.inbound, f"/users/{user}", bearer=token)).status

                serving = asyncio.create_task(app())
                assert await asyncio.gather(*map(call, users)) == [200] * len(users)
                serving.cancel()
                await asyncio.wait((serving,))
                of: dict[str, set[str]] = {user: set() for user in users}
                for request in far.app.received:
                    (subject,) = request.values("x-auth-subject")
                    assert request.target == f"/users/{subject}"
                    of[subject].update(request.values("x-auth-transaction"))
        assert tts.token_requests.total == len(users)
    assert {len(each) for each in of.values()} == {1}
    assert len(set.union(*of.values())) == len(users)
