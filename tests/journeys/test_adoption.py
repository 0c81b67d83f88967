"""What happens between services that have a sidecar and services that have none yet.

The rows of the table in ``docs/adopting.md`` and the steps of its path, with real services: each
is a process of its own, and those with a carrier load it by environment variables alone.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sidecar
from sidecar.config.model import Address, Attribution, Origin
from sidecar.testbed.token_mint import TokenMint
from tests.support.http import fetch
from tests.support.pod import AUDIENCE, ISSUER, Pod, pod

SERVICE = Path(__file__).with_name("service.py")
CARRIER = Path(sidecar.__file__).parent / "carriers" / "python"
USERS = [f"user{number}" for number in range(24)]
NO_CARRIER = Attribution(carrier="none")


@dataclass
class Service:
    """A service process that waits to be told where to call."""

    address: Address
    _input: asyncio.StreamWriter

    @property
    def origin(self) -> Origin:
        return Origin("http", self.address.host, self.address.port)

    def calls(self, address: Address | None) -> None:
        """Tell it the next service; from then on it serves."""
        self._input.write(f"http://{address}\n".encode() if address else b"\n")


@asynccontextmanager
async def service(*arguments: str, carrier: bool = False) -> AsyncIterator[Service]:
    """Run a service on a port of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SERVICE),
        *arguments,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CARRIER) if carrier else ""},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        port = int(await process.stdout.readline())
        yield Service(Address("127.0.0.1", port), process.stdin)
    finally:
        process.kill()
        await process.communicate()


async def visit(address: Address, user: str, bearer: str | None) -> tuple[int, Any]:
    """Call the first service for *user*, and return what each service along the way saw."""
    answer = await fetch(address, f"/users/{user}", bearer=bearer)
    return answer.status, json.loads(answer.body)


async def visits(address: Address, whom: list[tuple[str, str]]) -> list[tuple[int, Any]]:
    """Visit for each (user, token) of *whom* at once; wait for all, whatever happens to one."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(visit(address, user, token)) for user, token in whom]
    return [task.result() for task in tasks]


def refused(answer: tuple[int, Any]) -> tuple[int, str]:
    """Status and reason of the last service's refusal, as the one before it saw it."""
    status, seen = answer
    return status, seen[-1]["reason"]


@dataclass
class Chain:
    """Two services, the first of which calls the second."""

    mint: TokenMint
    entrance: Address
    second: Service


@asynccontextmanager
async def chain(
    directory: Path,
    *arguments: str,
    first_pod: bool,
    second_pod: bool,
    carrier: bool = False,
    **settings: Any,
) -> AsyncIterator[Chain]:
    """Run two services, each beside a sidecar or without one; *settings* are of the first pod."""
    mint = TokenMint(ISSUER, audience=[AUDIENCE], algorithms=("ES256",))
    async with AsyncExitStack() as stack:

        async def beside(name: str, app: Service, **more: Any) -> Pod:
            (directory / name).mkdir()
            more["inbound"] = {"app": app.origin, **more.get("inbound", {})}
            return await stack.enter_async_context(pod(directory / name, mint=mint, **more))

        first = await stack.enter_async_context(service(*arguments, carrier=carrier))
        second = await stack.enter_async_context(service())
        second.calls(None)
        target = (await beside("second", second)).bound.inbound if second_pod else second.address
        if not first_pod:
            first.calls(target)
            yield Chain(mint, first.address, second)
            return
        settings["destination"] = {
            "upstream": Origin("http", target.host, target.port),
            **settings.get("destination", {}),
        }
        near = await beside("first", first, **settings)
        first.calls(near.bound.outbound["profiles"])
        yield Chain(mint, near.bound.inbound, second)


async def test_neither_has_a_sidecar(tmp_path: Path) -> None:
    """Row 1: everything is as it was; a relaying caller hands the token on, checked by nobody."""
    async with chain(tmp_path, "relay", first_pod=False, second_pod=False) as two:
        token = two.mint.token("bob")
        status, (_, last) = await visit(two.entrance, "bob", token)
        assert (status, last["authorization"], last["subject"]) == (200, f"Bearer {token}", None)


async def test_only_the_callee_has_a_sidecar(tmp_path: Path) -> None:
    """Row 2: the caller's own relaying code still works; without a token it is 401."""
    async with chain(tmp_path, "relay", first_pod=False, second_pod=True) as two:
        status, (_, last) = await visit(two.entrance, "bob", two.mint.token("bob"))
        assert (status, last["subject"], last["authorization"]) == (200, "bob", None)
        assert refused(await visit(two.entrance, "bob", None)) == (401, "token_missing")


async def test_only_the_caller_has_a_sidecar(tmp_path: Path) -> None:
    """Row 3: the callee receives the user's token as always, and checks it with its own code."""
    async with chain(tmp_path, first_pod=True, second_pod=False, carrier=True) as two:
        token = two.mint.token("bob")
        status, (first, last) = await visit(two.entrance, "bob", token)
        assert (status, first["authorization"], first["subject"]) == (200, None, "bob")
        assert (last["authorization"], last["subject"]) == (f"Bearer {token}", None)


async def test_both_have_a_sidecar(tmp_path: Path) -> None:
    """Row 4: neither app sees a token, both know the user."""
    async with chain(tmp_path, first_pod=True, second_pod=True, carrier=True) as two:
        status, (first, last) = await visit(two.entrance, "bob", two.mint.token("bob"))
        assert status == 200
        for seen in (first, last):
            assert (seen["authorization"], seen["subject"]) == (None, "bob")


async def test_step_1_observing_changes_nothing(tmp_path: Path) -> None:
    """The relaying code works as before, and what would be refused is only counted."""
    settings: dict[str, Any] = {
        "inbound": {"token_to_app": "forward", "mode": "observe"},
        "destination": {"mode": "observe"},
    }
    async with chain(tmp_path, "relay", first_pod=True, second_pod=False, **settings) as two:
        token = two.mint.token("bob")
        status, (first, last) = await visit(two.entrance, "bob", token)
        assert (status, first["authorization"]) == (200, f"Bearer {token}")
        assert last["authorization"] == f"Bearer {token}"


@pytest.mark.parametrize(
    ("arguments", "carrier", "token_to_app", "minimum"),
    [
        (["relay"], False, "forward", "strict"),  # the interceptor still there
        (["relay"], True, "forward", "strict"),  # the carrier beside it
        ([], True, "forward", "strict"),  # the interceptor deleted
        ([], True, "withhold", "strict"),  # the app sees no token any more
        (["relay"], False, "placeholder", "standard"),  # or keeps its code and sees none
        (["relay"], True, "placeholder", "strict"),
    ],
)
async def test_each_step_to_an_app_without_auth_code_works(
    tmp_path: Path, arguments: list[str], carrier: bool, token_to_app: str, minimum: str
) -> None:
    """The callee gets the right user's token before, while and after the interceptor goes."""
    async with chain(
        tmp_path,
        *arguments,
        first_pod=True,
        second_pod=True,
        carrier=carrier,
        inbound={"token_to_app": token_to_app},
        destination={"min_assurance": minimum},
    ) as two:
        tokens = {user: two.mint.token(user) for user in USERS}
        answers = await visits(two.entrance, [(user, tokens[user]) for user in USERS * 3])
        for (status, seen), user in zip(answers, USERS * 3, strict=True):
            assert (status, [each.get("subject") for each in seen]) == (200, [user, user]), seen
            if token_to_app != "forward":
                assert tokens[user] not in str(seen)


@pytest.mark.parametrize(
    ("arguments", "carrier", "token_to_app", "reason"),
    [
        ([], False, "withhold", "attribution_missing"),  # withheld before the carrier is there
        ([], False, "forward", "attribution_missing"),  # interceptor deleted too early
        (["relay"], False, "withhold", "attribution_missing"),  # nothing left to relay
        (["relay"], False, "placeholder", "attribution_assurance"),  # relayed by hand: standard
    ],
)
async def test_a_step_taken_too_early_is_refused_with_its_reason(
    tmp_path: Path, arguments: list[str], carrier: bool, token_to_app: str, reason: str
) -> None:
    """Never the wrong token, never the service's own: the app reads what is missing."""
    async with chain(
        tmp_path,
        *arguments,
        first_pod=True,
        second_pod=True,
        carrier=carrier,
        inbound={"token_to_app": token_to_app},
    ) as two:
        token = two.mint.token("bob")
        assert refused(await visit(two.entrance, "bob", token)) == (403, reason)


async def test_three_hops_keep_the_users_subject(tmp_path: Path) -> None:
    """A asks B, B asks C: all three sidecars and both apps in between know the same user."""
    mint = TokenMint(ISSUER, audience=[AUDIENCE], algorithms=("ES256",))
    async with AsyncExitStack() as stack:
        target: Address | None = None
        entrance: Address | None = None
        for name in ("c", "b", "a"):
            (tmp_path / name).mkdir()
            app = await stack.enter_async_context(service(carrier=target is not None))
            settings: dict[str, Any] = {"inbound": {"app": app.origin}}
            if target is not None:
                settings["destination"] = {"upstream": Origin("http", target.host, target.port)}
            running = await stack.enter_async_context(pod(tmp_path / name, mint=mint, **settings))
            app.calls(running.bound.outbound["profiles"] if target is not None else None)
            target = entrance = running.bound.inbound
        assert entrance is not None
        tokens = {user: mint.token(user) for user in USERS}
        answers = await visits(entrance, [(user, tokens[user]) for user in USERS * 3])
    for (status, seen), user in zip(answers, USERS * 3, strict=True):
        assert status == 200, seen
        assert [each["subject"] for each in seen] == [user] * 3
        assert all(each["authorization"] is None for each in seen)


async def test_the_tokens_of_two_tenants_never_cross(tmp_path: Path) -> None:
    """Two issuers, the same names in both: each call carries its own tenant's token."""
    shop = TokenMint(ISSUER, audience=[AUDIENCE], algorithms=("ES256",))
    other = TokenMint("https://other.example", audience=[AUDIENCE], algorithms=("ES256",))
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(service(carrier=True))
        last = await stack.enter_async_context(service())
        last.calls(None)
        running = await stack.enter_async_context(
            pod(
                tmp_path,
                mint=shop,
                other_mint=other,
                inbound={"app": app.origin},
                destination={"upstream": last.origin},
            )
        )
        app.calls(running.bound.outbound["profiles"])
        whom = [(user, mint.token(user)) for user in USERS for mint in (shop, other)] * 2
        answers = await visits(running.bound.inbound, whom)
    for (status, (first, final)), (user, token) in zip(answers, whom, strict=True):
        assert (status, first["subject"]) == (200, user)
        assert final["authorization"] == f"Bearer {token}"
