"""What somebody may try with transaction tokens, against a running sidecar on real sockets.

The authorization server is the trust domain's token service, too, with one ``iss`` and one set of
keys: then nothing but the kind of a token tells one from the other.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.model import Allow, Attribution, Rule
from sidecar.core.token_sources import AUTHORIZATION_SOURCE, TokenSource
from tests.core.signing import b64
from tests.support.http import fetch
from tests.support.inflight import arrive, call
from tests.support.pod import AUDIENCE, TRUST_DOMAIN, Pod, pod, records, soon
from tests.support.transactions import TransactionMint, raw_answer

RULES = (Rule("users", ("/users/**",), Allow.AUTHENTICATED),)
INVALID = (403, "transaction_token_invalid")
REPEATED = (400, "transaction_token_repeated")


async def sent(running: Pod, *lines: bytes, bearer: str = "") -> tuple[int, str]:
    """Send *lines* beside alice's access token, byte for byte."""
    token = bearer or running.mint.token("alice")
    return await raw_answer(
        running.bound.inbound, (b"authorization: Bearer " + token.encode(), *lines)
    )


def unsigned(claims: Mapping[str, Any]) -> bytes:
    """Return a transaction token with ``alg: none``."""
    header = {"typ": "txntoken+jwt", "alg": "none"}
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}.".encode()


async def test_none_passes_that_is_not_exactly_one_good_transaction_token(tmp_path: Path) -> None:
    """Twice, in a list, in two spellings, unsigned, by another key, an access token of the very
    same issuer with every claim of a transaction: each is refused, and a good one passes after it.
    """
    both = TransactionMint()
    other = TransactionMint()
    async with pod(tmp_path, mint=both, transactions=both, rules=RULES) as running:
        good, second = (both.transaction("alice").encode() for _ in range(2))
        access = both.token("alice").encode()
        said = both.claims("alice", aud=[TRUST_DOMAIN], txn="t", req_wl="w", scope="s")
        dressed = both.token("alice", aud=TRUST_DOMAIN, txn="t", req_wl="w").encode()
        typed = both.transaction("alice", header={"typ": "at+jwt"}).encode()
        attacks: tuple[tuple[tuple[bytes, ...], tuple[int, str]], ...] = (
            ((b"txn-token: " + good, b"txn-token: " + good), REPEATED),
            ((b"txn-token: " + good, b"txn-token: " + second), REPEATED),
            ((b"txn-token: " + good, b"Txn_Token: " + good), REPEATED),
            ((b"txn-token: " + good, b"txn-token:"), REPEATED),
            ((b"txn-token: " + good + b", " + second,), REPEATED),
            ((b"txn-token: " + good + b",",), REPEATED),
            ((b"txn-token:",), INVALID),
            ((b"txn-token: Bearer " + good,), INVALID),
            ((b"txn-token: " + good + b" x",), INVALID),
            ((b"txn-token: " + unsigned(said),), INVALID),
            ((b"txn-token: " + access,), INVALID),
            ((b"txn-token: " + dressed,), INVALID),
            ((b"txn-token: " + typed,), INVALID),
            ((b"txn-token: " + good[:-4] + b"AAAA",), INVALID),
            ((b"txn-token: " + other.transaction("alice").encode(),), INVALID),
            ((b"txn-token: " + b"x" * 20_000,), INVALID),
            ((b"txn-token: " + good, b"connection: txn-token"), (400, "connection_protected")),
            ((b"connection: close, Txn_Token",), (400, "connection_protected")),
        )  # fmt: skip
        wrong = []
        for lines, expected in attacks:
            got = await sent(running, *lines)
            if got != expected:
                wrong.append((lines, got, expected))
            assert await sent(running, b"TXN-TOKEN:   " + good + b" ") == (200, "")
        assert wrong == []
        assert len(running.app.received) == len(attacks)
        assert not any(request.values("txn-token") for request in running.app.received)
    logged = json.dumps(records(running))
    for token in (good, second, access):
        assert not any(part in logged for part in token.decode().split(".") if len(part) > 40)


async def test_a_transaction_token_is_no_bearer_token_in_any_place(tmp_path: Path) -> None:
    """Though the same issuer signed it for this very audience: its kind is another. Nor does it let
    anybody in where only ``Txn-Token`` has it.
    """
    both = TransactionMint()
    sources = (
        AUTHORIZATION_SOURCE, TokenSource("header", "x-token"), TokenSource("cookie", "session"),
    )  # fmt: skip
    inbound = {"token_sources": sources}
    async with pod(
        tmp_path, mint=both, transactions=both, rules=RULES, inbound=inbound,
        issuer={"token_types": ("txntoken+jwt", "at+jwt", "jwt", "absent")},
    ) as running:  # fmt: skip
        claims: dict[str, Any] = {"iss": both.issuer, "aud": AUDIENCE, "typ": "Bearer"}
        token = both.transaction("alice", **claims).encode()
        for line in (b"authorization: Bearer ", b"x-token: ", b"cookie: session="):
            answer = await raw_answer(running.bound.inbound, [line + token])
            assert answer == (401, "token_type")
        assert await raw_answer(running.bound.inbound, [b"txn-token: " + token]) == (
            401, "token_missing",
        )  # fmt: skip
        assert not running.app.received


async def test_a_key_that_goes_ends_what_was_let_in_with_it(tmp_path: Path) -> None:
    """A request in progress causes no call any more: neither with the transaction token that its
    key signed nor, silently, without it.
    """
    tts = TransactionMint()
    destination = {"transaction_token": "pass"}
    async with pod(
        tmp_path, transactions=tts, destination=destination, automatic=False, cooldown_seconds=1.0
    ) as running:
        token = tts.transaction("alice")
        alice = await arrive(running, running.mint.token("alice"), fields=[("txn-token", token)])
        bob = await arrive(running, running.mint.token("bob"))
        _, request = await call(running, alice.handle)
        assert request is not None
        assert request.values("txn-token") == [token]
        await withdraw(running, tts, tmp_path)
        answer, request = await call(running, alice.handle)
        assert (answer.reason, request) == ("attribution_dead", None)
        _, request = await call(running, bob.handle)
        assert request is not None
        await alice.end()
        await bob.end()
        assert await sent(running, b"txn-token: " + token.encode()) == INVALID


@pytest.mark.parametrize("lost", ["key", "time"])
async def test_what_was_good_before_the_wait_is_judged_again_after_it(
    lost: str, tmp_path: Path
) -> None:
    """While a request waits for its turn, the key of its token may go, or its time be up."""
    tts = TransactionMint()
    now = [time.time()]
    attribution = Attribution(exclusive="request", exclusive_quiet_seconds=0.0)
    async with pod(
        tmp_path, transactions=tts, automatic=False, attribution=attribution, cooldown_seconds=1.0,
        wall_clock=lambda: now[0],
    ) as running:  # fmt: skip
        first = await arrive(running, running.mint.token("alice"))
        admission = running.wiring.standing.admission
        assert admission is not None
        waiting = asyncio.create_task(
            fetch(
                running.bound.inbound, "/users/1", bearer=running.mint.token("bob"),
                fields=[("txn-token", tts.transaction("bob"))],
            )
        )  # fmt: skip
        async with asyncio.timeout(10):
            while not admission.waiting:
                await asyncio.sleep(0)
        if lost == "key":
            await withdraw(running, tts, tmp_path)
        else:
            now[0] += 150.0  # the access token is good for longer
        await first.end()
        answer = await waiting
        assert answer.status == 403
        assert answer.reason == f"transaction_token_{'invalid' if lost == 'key' else 'expired'}"
        assert len(running.app.received) == 1


async def withdraw(running: Pod, tts: TransactionMint, directory: Path) -> None:
    """Have *tts* sign with a new key, and *running* see that the one before is gone."""
    tts.rotate(withdraw=True)
    (directory / "tts.json").write_text(json.dumps(tts.jwks()))
    keys = running.wiring.keys["tts"]
    keys._finished_at = 0.0  # long ago
    await keys.obtain()


async def test_none_comes_in_a_trailer_and_none_goes_back(tmp_path: Path) -> None:
    """Neither a request's trailers reach the app, nor an answer's field or trailer the caller."""
    tts = TransactionMint()
    token = tts.transaction("alice").encode()
    async with pod(tmp_path, transactions=tts, automatic=False) as running:
        lines = [b"transfer-encoding: chunked", b"te: trailers", b"trailer: txn-token"]
        body = b"1\r\nx\r\n0\r\ntxn-token: " + token + b"\r\n\r\n"
        lines.append(b"authorization: Bearer " + running.mint.token("alice").encode())
        address = running.bound.inbound
        reader, writer = await asyncio.open_connection(address.host, address.port)
        head = b"POST /users/1 HTTP/1.1\r\nhost: x\r\nconnection: close, te\r\n"
        writer.write(head + b"\r\n".join(lines) + b"\r\n\r\n" + body)
        request = await running.app.next()
        assert not request.values("txn-token")
        request.answer(200, [("Txn-Token", "a.b.c"), ("txn_token", "a.b.c"), ("x-own", "1")])
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
    assert b"a.b.c" not in answer
    assert b"x-own: 1" in answer
    assert token not in answer


@pytest.mark.parametrize("seconds", [-31, 31])
async def test_the_clock_has_only_the_leeway(seconds: int, tmp_path: Path) -> None:
    """Just past it in either direction is past."""
    tts = TransactionMint()
    async with pod(tmp_path, transactions=tts, rules=RULES) as running:
        at = soon(seconds)
        changes: dict[str, Any] = {"exp": at} if seconds < 0 else {"iat": at + 1, "exp": at + 60}
        status, _ = await sent(running, b"txn-token: " + tts.transaction("a", **changes).encode())
        assert status == 403
