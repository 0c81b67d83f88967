"""``transaction_token: pass``: a call carries that of the request which caused it, or none."""

import json
from math import inf
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.attribution import CallTerms, Entry
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Credential, Principal
from sidecar.outbound.passing import lines_with
from tests.support.http import App, Request, fetch
from tests.support.inflight import Inflight, arrive, call, call_with
from tests.support.pod import LOOPBACK, Pod, pod, records, soon
from tests.support.transactions import TransactionMint

PASS: dict[str, Any] = {"transaction_token": "pass"}
STRICT = ("x-sidecar-carrier", "python/0.1; grade=strict")


async def come(running: Pod, subject: str, transaction: str | None, token: str = "") -> Inflight:
    """Have a request of *subject* in the app."""
    fields = [] if transaction is None else [("Txn-Token", transaction)]
    return await arrive(running, token or running.mint.token(subject), fields=fields)


def got(request: Request | None) -> tuple[list[str], list[str]]:
    """Return what the destination was given: access tokens and transaction tokens."""
    assert request is not None
    return request.values("authorization"), request.values("txn-token")


async def test_each_call_has_that_of_its_request(tmp_path: Path) -> None:
    """Unmodified, beside the relayed token; a request without one causes calls without one."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts, destination=PASS, automatic=False) as running:
        tokens = {name: running.mint.token(name) for name in ("alice", "bob", "carol")}
        sent = {"alice": tts.transaction("alice", txn="t-1"), "bob": tts.transaction("u7")}
        waiting = {n: await come(running, n, sent.get(n), tokens[n]) for n in tokens}
        for name in ("bob", "carol", "alice", "bob"):
            _, request = await call(running, waiting[name].handle)
            passed = [sent[name]] if name in sent else []
            assert got(request) == ([f"Bearer {tokens[name]}"], passed)
        for each in waiting.values():
            await each.end()
    logged = [each for each in records(running) if each["direction"] == "outbound"]
    assert [each.get("transaction") for each in logged][2] == "t-1"
    assert "transaction" not in logged[1]


async def test_none_goes_where_none_is_passed(tmp_path: Path) -> None:
    """By default a destination gets none, whatever the app sends."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts, automatic=False) as running:
        token = tts.transaction("alice")
        alice = await come(running, "alice", token)
        fields = [STRICT, ("x-sidecar-context", alice.handle), ("Txn-Token", token)]
        _, request = await call_with(running, fields)
        assert got(request)[1] == []
        await alice.end()


@pytest.mark.parametrize("name", ["Txn-Token", "txn_token", "TXN.TOKEN"])
async def test_the_apps_own_is_replaced(name: str, tmp_path: Path) -> None:
    """In every spelling: what the app has is nobody's word."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts, destination=PASS, automatic=False) as running:
        token, other = tts.transaction("alice"), tts.transaction("bob")
        alice = await come(running, "alice", token)
        fields = [STRICT, ("x-sidecar-context", alice.handle), (name, other)]
        _, request = await call_with(running, fields)
        assert request is not None
        assert request.values("txn-token") == [token]
        assert other not in str(request.fields)
        await alice.end()


async def test_without_a_token_whose_call_it_is_is_found_all_the_same(tmp_path: Path) -> None:
    """``token: none``: the transaction token alone, and a call that names no request is refused."""
    tts = TransactionMint()
    destination = {**PASS, "token": "none"}
    async with pod(tmp_path, transactions=tts, destination=destination, automatic=False) as running:
        token = tts.transaction("alice")
        alice, bob = await come(running, "alice", token), await come(running, "bob", None)
        _, request = await call(running, alice.handle)
        assert got(request) == ([], [token])
        _, request = await call(running, bob.handle)
        assert got(request) == ([], [])
        answer, request = await call(running, None)
        assert (answer.reason, request) == ("attribution_missing", None)
        await alice.end()
        answer, request = await call(running, alice.handle)
        assert (answer.reason, request) == ("attribution_dead", None)
        await bob.end()
    (first, *_) = [each for each in records(running) if each["direction"] == "outbound"]
    assert first["attribution"]["outcome"] == "accompanied"


async def test_beside_the_apps_own_credential(tmp_path: Path) -> None:
    """``app_credentials: keep``: the service shows who it is, the transaction token whose call."""
    tts = TransactionMint()
    destination = {**PASS, "app_credentials": "keep"}
    async with pod(tmp_path, transactions=tts, destination=destination, automatic=False) as running:
        token = tts.transaction("alice")
        alice = await come(running, "alice", token)
        fields = [STRICT, ("x-sidecar-context", alice.handle)]
        _, request = await call_with(running, fields, bearer="of-the-service")
        assert got(request) == (["Bearer of-the-service"], [token])
        answer, request = await call_with(running, [STRICT], bearer="of-the-service")
        assert (answer.reason, request) == ("attribution_missing", None)
        await alice.end()


async def test_an_expired_one_stops_the_call(tmp_path: Path) -> None:
    """401 ``token_expired`` once its ``exp`` has passed, at the very second, and never without."""
    tts = TransactionMint()
    now = [float(soon(0))]
    async with pod(
        tmp_path, transactions=tts, destination=PASS, automatic=False, wall_clock=lambda: now[0]
    ) as running:
        end = soon(20)
        alice = await come(running, "alice", tts.transaction("alice", exp=end))
        now[0] = end - 0.5
        _, request = await call(running, alice.handle)
        assert len(got(request)[1]) == 1
        now[0] = float(end)
        answer, request = await call(running, alice.handle)
        assert (answer.status, answer.reason, request) == (401, "token_expired", None)
        assert not answer.values("www-authenticate")
        await alice.end()
    assert "transaction token expired" in json.dumps(records(running))


async def relayed(running: Pod, token: str, fields: list[tuple[str, str]] | None = None) -> Any:
    """Call as an app that sends its caller's access token itself."""
    return await call_with(running, fields or [], bearer=token)


async def test_an_app_that_relays_a_token_of_two_transactions_names_neither(tmp_path: Path) -> None:
    """The access token says whose call it is and not of which transaction: refused, unless only one
    is possible or something else names the request.
    """
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts, destination=PASS, automatic=False) as running:
        token = running.mint.token("alice")
        first, second = tts.transaction("alice"), tts.transaction("alice")
        one = await come(running, "alice", first, token)
        _, request = await relayed(running, token)
        assert got(request) == ([f"Bearer {token}"], [first])
        again = await come(running, "alice", first, token)
        _, request = await relayed(running, token)
        assert got(request)[1] == [first]
        two = await come(running, "alice", second, token)
        answer, request = await relayed(running, token)
        assert (answer.reason, request) == ("attribution_ambiguous", None)
        for inflight, passed in ((one, first), (two, second)):
            fields = [STRICT, ("x-sidecar-context", inflight.handle)]
            _, request = await relayed(running, token, fields)
            assert got(request)[1] == [passed]
        for inflight in (one, again):
            await inflight.end()
        _, request = await relayed(running, token)
        assert got(request)[1] == [second]
        await two.end()


def entry_with(transaction: str | None) -> Entry:
    """Return a live entry of alice."""
    principal = Principal("shop", "https://idp.example", "alice")
    entry = Entry(b"h", Credential(principal, b"T", b"d" * 32, inf, 0.0), "r", CallTerms(60.0), 0.0)
    if transaction is not None:
        entry.transaction = Credential(principal, transaction.encode(), b"e" * 32, 100.0, 0.0)
    return entry


def test_a_call_that_waits_never_changes_its_transaction() -> None:
    """While a call with a stated token waits, its request may end and another with that token come:
    the call is then counted under that one, whose transaction is not the call's.
    """
    before, same, other, none = (entry_with(name) for name in ("t1", "t1", "t2", None))
    chosen = before.transaction
    assert lines_with(same, chosen, 99.0) == b"txn-token: t1\r\n"
    for entry in (other, none):
        denial = lines_with(entry, chosen, 99.0)
        assert isinstance(denial, Denial)
        assert denial.reason is Reason.ATTRIBUTION_DEAD
    denial = lines_with(before, None, 99.0)
    assert isinstance(denial, Denial)
    assert lines_with(none, None, 99.0) == b""


async def test_nothing_of_it_goes_to_a_place_that_is_not_listed(tmp_path: Path) -> None:
    """Neither the field in any spelling, nor such a token in ``Authorization``, live or not."""
    tts, third = TransactionMint(), App(automatic=True)
    async with (
        third.running(),
        pod(tmp_path, outbound={"proxy": LOOPBACK}) as running,
    ):
        token, host = tts.transaction("alice"), str(third.origin.address)
        proxy = running.bound.proxy
        assert proxy is not None
        fields = [("Txn-Token", token), ("txn_token", token), ("x-own", "1")]
        answer = await fetch(proxy, f"http://{host}/", host=host, fields=fields, bearer=token)
        assert answer.status == 200
        (received,) = third.received
        assert token not in str(received.fields)
        assert received.values("x-own") == ["1"]
