"""What ``sidecar explain`` says of transaction tokens, in both directions."""

import json
from pathlib import Path
from typing import Any

from sidecar.config.model import Explain, TransactionTokens
from tests.explain.test_running import ask, step
from tests.support.http import fetch
from tests.support.inflight import arrive, call
from tests.support.pod import Pod, pod, soon
from tests.support.transactions import TransactionMint

REQUIRED = {"transaction_tokens": TransactionTokens("tts", require=True, subject="same")}


async def latest(running: Pod, transaction: str | None, **changes: Any) -> Any:
    """Send alice's request with *transaction*; return what is said of the decision."""
    fields = [] if transaction is None else [("txn-token", transaction)]
    asked = {"bearer": running.mint.token("alice"), "target": "/users/1", **changes}
    await fetch(running.bound.inbound, asked.pop("target"), fields=fields, **asked)
    newest = (await ask(running, "/decisions?limit=1"))["decisions"][0]
    return await ask(running, f"/decisions/{newest['id']}")


async def test_the_step_of_a_request(tmp_path: Path) -> None:
    """What is wanted, what it said, and why it was refused; the access token's steps passed."""
    tts = TransactionMint()
    async with pod(
        tmp_path, transactions=tts, inbound=REQUIRED, control=tmp_path / "c.sock"
    ) as running:
        good = tts.transaction("alice", txn="t-1")
        found = await latest(running, good)
        assert found["transaction"] == "t-1"
        assert step(found, "transaction") == {
            "step": "transaction", "outcome": "ok", "note": "",
            "wanted": "one Txn-Token of issuers.tts, for [shop.example], with the access token's "
            "sub",
            "found": "txn t-1, sub alice, req_wl apigateway.shop.example, scope trade.stocks",
        }  # fmt: skip
        for transaction, note in (
            (None, "`inbound.transaction_tokens.require` asks for one"),
            (tts.transaction("alice", exp=soon(-90)), "token_expired: the token expired"),
            (tts.transaction("alice", aud="b.example"), "audience_mismatch: the token's audience"),
            (tts.transaction("bob"), "its sub is not the access token's"),
        ):
            found = await latest(running, transaction)
            assert step(found, "transaction")["outcome"] == "refused"
            assert step(found, "transaction")["found"] == "none that is good"
            assert note in step(found, "transaction")["note"]
            assert step(found, "times")["outcome"] == "ok"
            assert step(found, "rights")["note"] == "not reached"
            assert found["advice"]
        (tmp_path / "tts.json").unlink()
        running.wiring.keys["tts"]._finished_at = 0.0
        tts.rotate()
        found = await latest(running, tts.transaction("alice"))
        assert found["reason"] == "keys_unavailable"
        assert step(found, "signature")["outcome"] == "ok"
        assert step(found, "transaction")["outcome"] == "refused"
        health = await latest(running, good, bearer=None, target="/healthz")
        assert step(health, "transaction")["outcome"] == "skipped"


async def test_the_step_of_a_call_and_what_is_hidden(tmp_path: Path) -> None:
    """The same of what went out; ``explain.redact`` hides its claims like the access token's."""
    tts = TransactionMint()
    async with pod(
        tmp_path, transactions=tts, automatic=False, control=tmp_path / "c.sock",
        destination={"transaction_token": "pass"}, explain=Explain(redact=("sub", "txn")),
    ) as running:  # fmt: skip
        token = tts.transaction("d084sdrt", txn="97053963")
        fields = [("txn-token", token)]
        alice = await arrive(running, running.mint.token("alice"), fields=fields)
        bob = await arrive(running, running.mint.token("bob"))
        for inflight in (alice, bob):
            await call(running, inflight.handle)
        rows = (await ask(running, "/decisions"))["decisions"]
        without, passed = [await ask(running, f"/decisions/{row['id']}") for row in rows]
        assert step(without, "transaction")["found"] == "none"
        assert step(passed, "transaction")["outcome"] == "ok"
        assert step(passed, "transaction")["found"] == (
            "txn [redacted], sub [redacted], req_wl apigateway.shop.example, scope trade.stocks"
        )
        everything = json.dumps([without, passed])
        assert not any(each in everything for each in ("d084sdrt", "97053963", token))
        await alice.end()
        await bob.end()


async def test_there_is_no_such_step_where_there_are_no_such_tokens(tmp_path: Path) -> None:
    """An explanation has what was looked at."""
    async with pod(tmp_path, control=tmp_path / "c.sock") as running:
        found = await latest(running, None)
        assert "transaction" not in [each["step"] for each in found["steps"]]
