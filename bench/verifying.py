"""What verifying a token costs, in one process, next to the bare check of its signature.

A script of its own, so that it runs with the ``sidecar`` that is installed, compiled or not, and
not with the tree it lies in. It reads tokens and keys as JSON from standard input and writes what
it measured to standard output; ``bench.verification`` starts it.
"""

import base64
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sidecar.core.build import COMPILED
from sidecar.core.headers import identity_lines
from sidecar.core.keyset import parse_jwks
from sidecar.core.verification import IssuerPolicy, Verified, Verifier

Timed = Callable[[], None]


def measure(order: Mapping[str, Any]) -> dict[str, Any]:
    """Measure what *order* asks for, bare check and verification in turn within each round."""
    found: dict[str, Any] = {"compiled": COMPILED, "cold": {}, "cached": {}}
    for alg, tokens in order["tokens"].items():
        sent = [token.encode() for token in tokens]
        bare = _bare(alg, order["pem"][alg].encode(), sent)
        verifier = _verifier(order, cache_entries=1)
        cold = _all_verified(verifier, sent, order["now"])
        found["cold"][alg] = _in_turn(order["rounds"], len(sent), bare, cold)
        known = _verifier(order, cache_entries=2 * len(sent))
        _all_verified(known, sent, order["now"])()
        # A request brings bytes that nobody has hashed: copies do, and each is used once.
        copies = [[bytes(bytearray(token)) for token in sent] for _ in range(order["rounds"] + 1)]
        found["cached"][alg] = _once_each(
            len(sent), [_all_recalled(known, round_, order["now"]) for round_ in copies]
        )
    return found


def _verifier(order: Mapping[str, Any], *, cache_entries: int) -> Verifier:
    policy = IssuerPolicy(
        "bench", order["issuer"], frozenset({order["audience"]}), profile="keycloak"
    )
    verifier = Verifier(
        [policy],
        render=identity_lines,
        max_token_bytes=16 * 1024,
        cache_max_entries=cache_entries,
        cache_max_bytes=256 << 20,
    )
    verifier.install("bench", parse_jwks(order["jwks"].encode()))
    return verifier


def _all_verified(verifier: Verifier, tokens: Sequence[bytes], now: float) -> Timed:
    def run() -> None:
        for token in tokens:
            assert isinstance(verifier.verify(token, now=now), Verified)

    return run


def _all_recalled(verifier: Verifier, tokens: Sequence[bytes], now: float) -> Timed:
    def run() -> None:
        for token in tokens:
            assert verifier.recall(token, now=now) is not None

    return run


def _bare(alg: str, pem: bytes, tokens: Iterable[bytes]) -> Timed:
    """Return the check of all signatures alone, everything about them prepared."""
    key: Any = load_pem_public_key(pem)
    prepared = []
    for token in tokens:
        signed, _, last = token.rpartition(b".")
        signature = base64.urlsafe_b64decode(last + b"=" * (-len(last) % 4))
        prepared.append((_der(signature) if alg == "ES256" else signature, signed))
    arguments: tuple[Any, ...] = {
        "RS256": (padding.PKCS1v15(), hashes.SHA256()),
        "ES256": (ECDSA(hashes.SHA256()),),
        "EdDSA": (),
    }[alg]

    def run() -> None:
        for signature, signed in prepared:
            key.verify(signature, signed, *arguments)

    return run


def _der(signature: bytes) -> bytes:
    half = len(signature) // 2
    return encode_dss_signature(
        int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    )


def _in_turn(rounds: int, count: int, bare: Timed, cold: Timed) -> dict[str, float]:
    bare()
    cold()
    pairs = [(_microseconds(bare, count), _microseconds(cold, count)) for _ in range(rounds)]
    return {
        "bare": median(pair[0] for pair in pairs),
        "verified": median(pair[1] for pair in pairs),
        "ratio": median(pair[1] / pair[0] for pair in pairs),
    }


def _once_each(count: int, runs: Sequence[Timed]) -> float:
    runs[0]()
    return median(_microseconds(run, count) for run in runs[1:])


def _microseconds(run: Timed, count: int) -> float:
    """Return the processor time of one of *count*, which waiting for others is no part of."""
    started = time.process_time_ns()
    run()
    return (time.process_time_ns() - started) / count / 1000


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
