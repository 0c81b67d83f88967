"""Under any interleaving a call carries the transaction token of its own request, or is refused.

The exchanges are real and driven by hand: requests come and end, their calls are decided and sent
later, access tokens are shared by requests of different transactions, and the app names its request
by a handle, by relaying the access token alone, or by both.
"""

import json
import random
import time
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.model import Limits
from sidecar.core.attribution import CallTerms, Entry
from sidecar.core.claims import IssuerPolicy
from sidecar.core.keyset import parse_jwks
from sidecar.core.outcome import Denial
from sidecar.core.principal import Credential, Principal
from sidecar.core.verification import KeyNeeded, Verified, Verifier
from sidecar.inbound.transaction import TransactionTokens
from sidecar.settings import wire_limits
from sidecar.wire.exchange import Answer, Exchange, Forward
from sidecar.wire.request_head import parse_request_head
from tests.support.pod import TRUST_DOMAIN, Pod, pod
from tests.support.transactions import TransactionMint

STEPS = 2_000
TOKENS = ("token-a", "token-b", "token-c")


@dataclass
class Going:
    """A call between its decision and its sending."""

    exchange: Exchange
    of: Entry
    transaction: bytes
    """Of the request that really made it; empty: it came without."""


def opened(running: Pod, rng: random.Random, number: int) -> Entry:
    """Let a request in: with one of few access tokens, and a transaction token or none."""
    token = rng.choice(TOKENS).encode()
    principal = Principal("shop", "https://i.example", f"user-of-{token.decode()}")
    credential = Credential(principal, token, sha256(token).digest(), inf, -inf)
    ledger = running.wiring.ledger
    entry = ledger.open(credential, "users", CallTerms(inf), ledger.new_handle())
    assert isinstance(entry, Entry)
    if rng.random() < 0.8:
        value = b"txn-%d" % (number if rng.random() < 0.8 else 0)
        entry.transaction = Credential(principal, value, sha256(value).digest(), inf, -inf)
    return entry


def begun(running: Pod, rng: random.Random, entry: Entry) -> Going | None:
    """Have *entry* call, as honestly as an app can; nothing where the call is refused at once."""
    assert entry.credential is not None
    names = rng.choice(("handle", "handle", "token", "both"))
    lines = b"GET /x HTTP/1.1\r\nhost: localhost\r\n"
    if names != "token":
        lines += b"x-sidecar-carrier: python/0.1; grade=strict\r\n"
        lines += b"x-sidecar-context: %b\r\n" % entry.handle
    if names != "handle":
        lines += b"authorization: Bearer %b\r\n" % entry.credential.token
    head = parse_request_head(lines, running.wiring._names, wire_limits(Limits()))
    exchange = running.wiring.outbound["profiles"].handler.begin(head, "127.0.0.1")
    transaction = b"" if entry.transaction is None else entry.transaction.token
    if not isinstance(exchange.start(), Forward):
        return None
    return Going(exchange, entry, transaction)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("token", ["relay", "none"])
async def test_never_anothers(token: str, seed: int, tmp_path: Path) -> None:
    """Whatever is written at the end has the transaction of the request that called, exactly."""
    rng = random.Random(seed)
    destination: dict[str, Any] = {"transaction_token": "pass", "token": token}
    sent = {"with": 0, "without": 0, "refused": 0}
    async with pod(tmp_path, transactions=TransactionMint(), destination=destination) as running:
        live: list[Entry] = []
        going: list[Going] = []
        for number in range(1, STEPS):
            match rng.choice(("open", "close", "call", "call", "call", "send", "send")):
                case "open" if len(live) < 8:
                    live.append(opened(running, rng, number))
                case "close" if live:
                    running.wiring.ledger.close(live.pop(rng.randrange(len(live))))
                case "call" if live:
                    call = begun(running, rng, rng.choice(live))
                    if call is None:
                        sent["refused"] += 1
                    else:
                        going.append(call)
                case "send" if going:
                    call = going.pop(rng.randrange(len(going)))
                    lines = call.exchange.commit()
                    if isinstance(lines, Answer):
                        sent["refused"] += 1
                        continue
                    found = [
                        line for line in lines.split(b"\r\n") if line.startswith(b"txn-token:")
                    ]
                    wanted = [b"txn-token: " + call.transaction] if call.transaction else []
                    assert found == wanted
                    sent["with" if found else "without"] += 1
                case _:
                    pass
    assert min(sent.values()) > 5, sent


def tokens_for(tts: TransactionMint) -> TransactionTokens:
    """Return what judges the tokens of *tts*."""
    policy = IssuerPolicy("tts", tts.issuer, frozenset({TRUST_DOMAIN}), profile="transaction_token")
    verifier = Verifier(
        (policy,), render=lambda _principal: b"", max_token_bytes=4096, cache_max_entries=10,
        cache_max_bytes=1 << 20,
    )  # fmt: skip
    verifier.install("tts", parse_jwks(json.dumps(tts.jwks()).encode()))
    return TransactionTokens(verifier, required=True, same_subject=False)


TTS = TransactionMint()
JUDGE = tokens_for(TTS)
CALLER = Credential(Principal("s", "i", "alice"), b"t", b"d" * 32, inf, -inf)
_PARTS = st.sampled_from(TTS.transaction("alice", exp=1 << 40).encode().split(b"."))
_VALUES = st.one_of(st.binary(max_size=64), st.lists(_PARTS, max_size=4).map(b".".join))


@given(st.lists(_VALUES, max_size=3))
def test_any_bytes_give_a_value(sent: list[bytes]) -> None:
    """Nothing raises; and what is not exactly the one good token is refused, or needs a key."""
    now = time.time()
    found = JUDGE.judge(sent, CALLER, now)
    assert isinstance(found, Verified | Denial | KeyNeeded)
    if isinstance(found, Verified):
        assert sent == [found.credential.token]
