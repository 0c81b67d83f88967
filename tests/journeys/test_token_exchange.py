"""Three services, each with a token of its own for the next: what arrives, and for whom.

The identity provider is the embedded one: few others issue an actor chain.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.testbed.grants import CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.users import Service
from tests.support.chain import Chain, chain
from tests.testbed.asking import claims

A = Service("a", audiences=frozenset({"b"}))
B = Service("b", audiences=frozenset({"c"}))
USERS = [f"user-{number}" for number in range(200)]
AGAIN = USERS[:50]
MOST_AT_ONCE = 8

pytestmark = pytest.mark.timeout(120)


def configuration(
    provider: IdentityProvider, directory: Path, name: str, then: str = ""
) -> dict[str, Any]:
    """Return what service *name* has, which calls *then*."""
    found: dict[str, Any] = {
        "issuers": {"shop": {"issuer": provider.issuer, "audiences": [name]}},
        "inbound": {
            "rules": [{"paths": ["/**"], "require": "authenticated"}],
            "token_to_app": "forward",  # so that the test can read it
        },
    }
    if then:
        secret = directory / f"{name}.secret"
        secret.write_text(f"{name}-secret")
        client = {
            "issuer": "shop",
            "client_id": name,
            "client_secret": f"file:{secret}",
            "max_concurrent": MOST_AT_ONCE,
            "timeout": "30s",  # also for a turn, which takes a while where all run on two cores
        }
        request = {"client": "shop", "audience": [then], "actor": "client"}
        found["clients"] = {"shop": client}
        found["outbound"] = {
            "destinations": {then: {"token": "exchange", "token_request": request}}
        }
    return found


@asynccontextmanager
async def three_services(directory: Path) -> AsyncIterator[tuple[IdentityProvider, Chain]]:
    """Service a calls b, and b calls c."""
    async with IdentityProvider(audience=["a"], services=[A, B], algorithms=("ES256",)) as provider:
        pods = {
            "a": configuration(provider, directory, "a", then="b"),
            "b": configuration(provider, directory, "b", then="c"),
            "c": configuration(provider, directory, "c"),
        }
        async with chain(directory, pods) as row:
            yield provider, row


async def test_each_hop_has_a_token_of_its_own(tmp_path: Path) -> None:
    """200 users at once, and some again: nobody is anybody else, each token is asked for once."""
    async with three_services(tmp_path) as (provider, row):
        provider.faults.delay_seconds = 0.01  # so that some are asked for at the same time
        tokens = {user: provider.mint.token(user) for user in USERS}
        for users in (USERS, AGAIN):
            visits = await asyncio.gather(
                *(row.visit(tokens[user], f"/users/{user}") for user in users)
            )
            wrong = [
                (user, visit)
                for user, visit in zip(users, visits, strict=True)
                if [seen.get("subject") for seen in visit.seen] != [user] * 3
            ]
            assert wrong == []
            for user, visit in zip(users, visits, strict=True):
                at_a, at_b, at_c = (claims(seen["token"]) for seen in visit.seen)
                assert visit.seen[0]["token"] == tokens[user]
                assert [said["sub"] for said in (at_a, at_b, at_c)] == [user] * 3
                assert [said["aud"] for said in (at_a, at_b, at_c)] == [["a"], ["b"], ["c"]]
                a, b = ({"sub": name, "iss": provider.issuer} for name in ("a", "b"))
                assert "act" not in at_a
                assert at_b["act"] == a
                assert at_c["act"] == {**b, "act": a}
        requests = provider.token_requests
        assert requests.per_grant == {TOKEN_EXCHANGE: 2 * len(USERS), CLIENT_CREDENTIALS: 2}
        assert 1 < requests.most_at_once <= 2 * MOST_AT_ONCE
        for link, destination in ((row.links[0], "b"), (row.links[1], "c")):
            counted = await link.samples("sidecar_token_exchanges_total")
            assert counted[f'{{destination="{destination}",result="obtained"}}'] == len(USERS)
            assert counted[f'{{destination="{destination}",result="cached"}}'] == len(AGAIN)
            assert sum(counted.values()) == len(USERS) + len(AGAIN)
        assert await row.links[2].samples("sidecar_token_exchanges_total") == {}
