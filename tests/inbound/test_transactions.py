"""``Txn-Token`` toward the app: verified beside an access token, told in headers, never given."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.config.model import Decisions, Log, TransactionTokens
from sidecar.core.attribution import Entry
from sidecar.core.identity import IdentityHeader
from sidecar.testbed.token_mint import ABSENT, TokenMint
from tests.support.http import Fields, Response, fetch
from tests.support.inflight import arrive, call
from tests.support.introspection import serving
from tests.support.pod import AUDIENCE, ISSUER, Pod, pod, records, soon
from tests.support.transactions import TransactionMint


async def send(running: Pod, transaction: str | None, **changes: Any) -> Response:
    """Send alice's request with *transaction*; *changes* are those of ``fetch``."""
    fields: Fields = [] if transaction is None else [("Txn-Token", transaction)]
    asked = {"bearer": running.mint.token("alice"), "target": "/users/1", **changes}
    target = asked.pop("target")
    return await fetch(running.bound.inbound, target, fields=fields, **asked)


async def test_a_good_one_is_told_to_the_app_and_not_given(tmp_path: Path) -> None:
    """``x-auth-transaction`` is its txn, further headers are the operator's choice, and the token
    itself stays here; log lines have the txn.
    """
    tts = TransactionMint()
    headers = (
        IdentityHeader("x-txn-context", "claim", ("tctx",), format="json"),
        IdentityHeader("x-txn-subject", "subject"),
    )
    keys = TransactionTokens("tts", headers=headers)
    async with pod(tmp_path, transactions=tts, inbound={"transaction_tokens": keys}) as running:
        token = tts.transaction("d084sdrt", txn="97053963-771d")
        assert (await send(running, token)).status == 200
        (received,) = running.app.received
    assert received.values("x-auth-transaction") == ["97053963-771d"]
    assert received.values("x-txn-context") == ['{"action":"BUY","ticker":"MSFT"}']
    assert received.values("x-txn-subject") == ["d084sdrt"]
    assert received.values("x-auth-subject") == ["alice"]
    assert token not in str(received.fields)
    assert not received.values("txn-token")
    (logged,) = records(running)
    assert logged["transaction"] == "97053963-771d"
    assert not any(len(part) > 20 and part in str(logged) for part in token.split("."))


async def test_without_one_a_request_passes_unless_one_is_required(tmp_path: Path) -> None:
    """By default it may be absent; ``require`` holds for every request with an access token."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts) as running:
        assert (await send(running, None)).status == 200
        assert not running.app.received[0].values("x-auth-transaction")
    required = {"transaction_tokens": TransactionTokens("tts", require=True)}
    async with pod(tmp_path, transactions=tts, inbound=required) as running:
        answer = await send(running, None)
        assert (answer.status, answer.reason) == (403, "transaction_token_missing")
        assert not answer.values("www-authenticate")
        assert (await send(running, tts.transaction("alice"))).status == 200
        assert (await send(running, None, bearer=None, target="/healthz")).status == 200


async def test_it_is_no_credential(tmp_path: Path) -> None:
    """Alone it lets nobody in, and where anyone may come it is removed unseen, good or bad."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts) as running:
        answer = await send(running, tts.transaction("alice"), bearer=None)
        assert (answer.status, answer.reason) == (401, "token_missing")
        for token in (tts.transaction("alice"), "rubbish"):
            assert (await send(running, token, bearer=None, target="/open/x")).status == 200
        assert not any(
            request.values("x-auth-transaction") or request.values("txn-token")
            for request in running.app.received
        )


async def test_where_it_is_not_configured_it_is_removed_unseen(tmp_path: Path) -> None:
    """Nobody verified it, so nobody gets it."""
    async with pod(tmp_path) as running:
        assert (await send(running, "rubbish")).status == 200
        assert not running.app.received[0].values("txn-token")


WRONG: Final[Sequence[tuple[dict[str, Any], str]]] = (
    ({"header": {"typ": "JWT"}}, "token_type: the token's header typ is jwt"),
    ({"header": {"typ": "at+jwt"}}, "token_type: the token's header typ is at+jwt"),
    ({"aud": "other.example"}, "audience_mismatch: the token's audience is [other.example]"),
    ({"aud": ["shop.example", "b.example"]}, "audience_mismatch: the token's aud is not one"),
    ({"aud": ABSENT}, "audience_mismatch: the token has no aud"),
    ({"exp": ABSENT}, "claim_missing: the token has no exp"),
    ({"iat": ABSENT}, "claim_missing: the token has no iat"),
    ({"txn": ABSENT}, "claim_missing: the token has no txn"),
    ({"txn": ""}, "claims_malformed: the token's txn"),
    ({"txn": ["a"]}, "claims_malformed: the token's txn"),
    ({"txn": "x" * 257}, "claims_malformed: the token's txn"),
    ({"txn": "a\r\nb"}, "claims_malformed: the token's txn"),
    ({"sub": ABSENT}, "claim_missing: the token has no sub"),
    ({"scope": ABSENT}, "claim_missing: the token has no scope"),
    ({"scope": 7}, "claims_malformed: "),
    ({"req_wl": ABSENT}, "claim_missing: the token has no req_wl"),
    ({"req_wl": ["gateway"]}, "claims_malformed: the token's req_wl"),
    ({"iss": "https://elsewhere.example"}, "issuer_mismatch: "),
    ({"iat": soon(3600)}, "token_not_yet_valid: "),
)


async def test_what_it_must_be(tmp_path: Path) -> None:
    """Each refusal says, in the words for access tokens, what is wrong with it."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts) as running:
        for changes, _ in WRONG:
            answer = await send(running, tts.transaction("alice", **changes))
            assert (answer.status, answer.reason) == (403, "transaction_token_invalid"), changes
        assert not running.app.received
    logged = records(running)
    assert {each["subject"] for each in logged} == {"alice"}
    pairs = zip(logged, WRONG, strict=True)
    assert [w for line, (_, w) in pairs if not line["detail"].startswith(w)] == []


async def test_its_end(tmp_path: Path) -> None:
    """An expired one has a reason of its own; the issuer's leeway holds."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts) as running:
        assert (await send(running, tts.transaction("alice", exp=soon(-5)))).status == 200
        answer = await send(running, tts.transaction("alice", exp=soon(-60)))
        assert (answer.status, answer.reason) == (403, "transaction_token_expired")


async def test_whose_it_may_be(tmp_path: Path) -> None:
    """Anybody's, for within a trust domain subjects may be named otherwise; ``same`` is strict."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts) as running:
        assert (await send(running, tts.transaction("bob"))).status == 200
    keys = {"transaction_tokens": TransactionTokens("tts", subject="same")}
    async with pod(tmp_path, transactions=tts, inbound=keys) as running:
        answer = await send(running, tts.transaction("bob"))
        assert (answer.status, answer.reason) == (403, "transaction_token_invalid")
        assert (await send(running, tts.transaction("alice"))).status == 200


async def test_its_issuer_may_be_named(tmp_path: Path) -> None:
    """``iss`` is optional; where it is there it must be the configured one."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts) as running:
        assert (await send(running, tts.transaction("alice", iss=tts.issuer))).status == 200


async def test_a_key_that_is_not_known_is_fetched_once(tmp_path: Path) -> None:
    """As for access tokens: one fetch, and then the answer, which names the issuer."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts, cooldown_seconds=1.0) as running:
        running.wiring.keys["tts"]._finished_at = 0.0  # long ago
        tts.rotate()
        (tmp_path / "tts.json").write_text(json.dumps(tts.jwks()))
        assert (await send(running, tts.transaction("alice"))).status == 200
        tts.rotate()
        answer = await send(running, tts.transaction("alice"))
        assert (answer.status, answer.reason) == (403, "transaction_token_invalid")
    assert records(running)[-1]["detail"].startswith("key_unknown: issuer tts")


async def test_without_keys_it_is_nobodys_fault(tmp_path: Path) -> None:
    """503 ``keys_unavailable``, which names the issuer, as for access tokens."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts) as running:
        (tmp_path / "tts.json").unlink()
        running.wiring.keys["tts"]._finished_at = 0.0
        tts.rotate()
        answer = await send(running, tts.transaction("alice"))
        assert (answer.status, answer.reason) == (503, "keys_unavailable")
    assert "issuer tts" in records(running)[-1]["detail"]


async def test_a_request_that_waits_has_its_entry_with_it(tmp_path: Path) -> None:
    """What the ledger keeps is the credential of the token, and it is wiped with the entry."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts, automatic=False) as running:
        token = tts.transaction("bob")
        waiting = await arrive(running, running.mint.token("alice"), fields=[("txn-token", token)])
        entry = running.wiring.ledger.find(waiting.handle.encode())
        assert isinstance(entry, Entry)
        transaction = entry.transaction
        assert transaction is not None
        assert transaction.token == token.encode()
        assert token not in repr(transaction)
        await waiting.end()
        assert is_wiped(entry)


async def test_beside_an_opaque_token_and_with_a_key_to_fetch(tmp_path: Path) -> None:
    """The issuer is asked about one and for the key of the other, one after the other."""
    mint, tts = TokenMint(ISSUER, audience=[AUDIENCE], algorithms=("ES256",)), TransactionMint()
    async with (
        serving(mint) as endpoint,
        pod(
            tmp_path, mint=mint, transactions=tts, introspection=endpoint.configured(),
            cooldown_seconds=1.0,
        ) as running,
    ):  # fmt: skip
        running.wiring.keys["tts"]._finished_at = 0.0  # long ago
        tts.rotate()
        (tmp_path / "tts.json").write_text(json.dumps(tts.jwks()))
        opaque = endpoint.opaque.issue("alice")
        for _ in range(2):
            token = tts.transaction("alice", txn="t-1")
            assert (await send(running, token, bearer=opaque)).status == 200
        for received in running.app.received:
            assert received.values("x-auth-subject") == ["alice"]
            assert received.values("x-auth-transaction") == ["t-1"]


async def test_observing_rules_takes_no_bad_token(tmp_path: Path) -> None:
    """``mode: observe`` is about what rules refuse, not about tokens."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts, inbound={"mode": "observe"}) as running:
        answer = await send(running, tts.transaction("alice", aud="other.example"))
        assert (answer.status, answer.reason) == (403, "transaction_token_invalid")


async def test_recorded_decisions_have_its_txn(tmp_path: Path) -> None:
    """Of the request and of its calls; and a refusal for its sake is none of the rules'."""
    tts = TransactionMint()
    file = tmp_path / "decisions"
    keys = Log(level="error", decisions=Decisions(file=str(file)))
    destination = {"transaction_token": "pass"}
    async with pod(
        tmp_path, transactions=tts, destination=destination, log_keys=keys, automatic=False
    ) as running:
        token = tts.transaction("alice", txn="t-1")
        alice = await arrive(running, running.mint.token("alice"), fields=[("txn-token", token)])
        await call(running, alice.handle)
        await alice.end()
        await send(running, "rubbish")
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert [each.get("transaction") for each in found] == ["t-1", "t-1", None]
    assert (found[2]["presented"], found[2]["allowed"]) == ("verified", False)
    assert token not in file.read_text()


def is_wiped(entry: Entry) -> bool:
    """Whether the transaction token of *entry* is wiped."""
    return entry.transaction is None
