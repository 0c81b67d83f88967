"""Transaction tokens under one configuration after another."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.config.model import JwksFile, TransactionTokens
from tests.reload.test_install import install
from tests.support.http import fetch
from tests.support.inflight import arrive, call
from tests.support.pod import Pod, pod
from tests.support.transactions import TransactionMint

PASS = {"transaction_token": "pass"}


async def status(running: Pod, transaction: str | None) -> tuple[int, str]:
    """Send a request of carol's; return status and reason."""
    fields = [] if transaction is None else [("txn-token", transaction)]
    bearer = running.mint.token("carol")
    answer = await fetch(running.bound.inbound, "/users/x", bearer=bearer, fields=fields)
    return answer.status, answer.reason


async def test_what_is_demanded_changes_and_requests_in_progress_keep_theirs(
    tmp_path: Path,
) -> None:
    """Their token is judged by the new configuration and goes on as it was received."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts, destination=PASS, automatic=False) as running:
        token = tts.transaction("alice")
        alice = await arrive(running, running.mint.token("alice"), fields=[("txn-token", token)])
        await install(running, transaction_tokens=TransactionTokens("tts", require=True))
        assert await status(running, None) == (403, "transaction_token_missing")
        _, request = await call(running, alice.handle)
        assert request is not None
        assert request.values("txn-token") == [token]
        await alice.end()


@pytest.mark.parametrize("moved", ["trust domain", "keys"])
async def test_another_trust_domain_ends_what_the_old_one_let_in(
    moved: str, tmp_path: Path
) -> None:
    """A token that is good no more causes no call, neither with it nor without."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts, destination=PASS, automatic=False) as running:
        token = tts.transaction("alice")
        alice = await arrive(running, running.mint.token("alice"), fields=[("txn-token", token)])
        bob = await arrive(running, running.mint.token("bob"))
        before = running.sidecar.wiring.config
        tts_now = replace(before.issuers["tts"], audiences=("other.example",))
        if moved == "keys":
            elsewhere = tmp_path / "elsewhere.json"
            elsewhere.write_text(json.dumps(TransactionMint().jwks()))
            tts_now = replace(before.issuers["tts"], keys=JwksFile(str(elsewhere)))
        issuers = {**before.issuers, "tts": tts_now}
        await running.sidecar.install(replace(before, issuers=issuers), ())
        answer, request = await call(running, alice.handle)
        assert (answer.reason, request) == ("attribution_dead", None)
        _, request = await call(running, bob.handle)
        assert request is not None
        await alice.end()
        await bob.end()
        assert await status(running, token) == (403, "transaction_token_invalid")


async def test_switched_on_and_off(tmp_path: Path) -> None:
    """Without the section the field is removed again, and requests in progress go on."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts, automatic=False) as running:
        token = tts.transaction("alice")
        alice = await arrive(running, running.mint.token("alice"), fields=[("txn-token", token)])
        assert alice.request.values("x-auth-transaction")
        before = running.sidecar.wiring.config
        inbound = replace(before.inbound, transaction_tokens=None)
        issuers = {"shop": before.issuers["shop"]}
        await running.sidecar.install(replace(before, inbound=inbound, issuers=issuers), ())
        _, request = await call(running, alice.handle)
        assert request is not None
        await alice.end()
        bob = await arrive(running, running.mint.token("bob"), fields=[("txn-token", "rubbish")])
        assert not bob.request.values("txn-token")
        assert not bob.request.values("x-auth-transaction")
        await running.sidecar.install(before, ())
        await bob.end()
        assert await status(running, "rubbish") == (403, "transaction_token_invalid")
