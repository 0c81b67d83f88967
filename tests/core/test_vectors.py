"""Published tokens and key sets, run against the verifier.

``tests/vectors/`` holds the data; each case names its source and licence. Where our policy is
stricter than the case's author, the tables below say so and why.
"""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.core.jose import parse_compact
from sidecar.core.keyset import KeySet, KeySetError, parse_jwks
from sidecar.core.outcome import Denial
from sidecar.core.verification import IssuerPolicy, Verified, Verifier

VECTORS: Final = Path(__file__).parent.parent / "vectors"

SYMMETRIC: Final = "symmetric signatures are not supported"
KEY_ALG: Final = "the key was published for another algorithm, or under a name that is none"
NO_SUBJECT: Final = "the token has no sub, which identity headers need"
REFUSED_THOUGH_ACCEPTABLE: Final = {
    "wycheproof/json_web_signature/1/acceptsValid": SYMMETRIC,
    "wycheproof/json_web_signature/348/Figure35": SYMMETRIC,
    "wycheproof/json_web_signature/357/ValidMac": SYMMETRIC,
    "wycheproof/json_web_signature/358/ValidEdgeCaseMac": SYMMETRIC,
    "wycheproof/json_web_signature/359/ValidEdgeCaseMac": SYMMETRIC,
    "wycheproof/json_web_signature/376/ValidSpacesInJsonHeader": SYMMETRIC,
    "wycheproof/json_web_signature/377/ValidWhiteSpaceInJsonHeader": SYMMETRIC,
    "wycheproof/json_web_key/2/acceptsValid": SYMMETRIC,
    "wycheproof/json_web_key/13/long_key": SYMMETRIC,
    "wycheproof/json_web_key/14/long_key": SYMMETRIC,
    "wycheproof/json_web_key/15/long_key": SYMMETRIC,
    "cookbook/jws/4_4.hmac-sha2_integrity_protection.json": SYMMETRIC,
    "rfc7515/A.1-HS256/jws": SYMMETRIC,
    "rfc7515/A.1-HS256/jwt-before-exp": SYMMETRIC,
    # Graded "may": refusing is what RFC 8725, section 3.1 asks for.
    "wycheproof/json_web_signature/346/Figure20": KEY_ALG,
    "wycheproof/json_web_signature/350/Figure20": KEY_ALG,
    "wycheproof/json_web_signature/347/Figure27": KEY_ALG,
    "wycheproof/json_web_signature/351/Figure27": KEY_ALG,
    "rfc7515/A.2-RS256/jwt-before-exp": NO_SUBJECT,
    "rfc7515/A.3-ES256/jwt-before-exp": NO_SUBJECT,
}

ROCA: Final = "graded may: weak RSA moduli are not looked for"
ACCEPTED_THOUGH_REFUSABLE: Final = {
    "wycheproof/json_web_key/7/rejectsKeyWithRocaVulnerability": ROCA,
    "wycheproof/json_web_crypto/46/rejectsKeyWithRocaVulnerability": ROCA,
}

NO_CURVE: Final = "crv is missing, which RFC 7518, section 6.2.1 requires; we do not guess it"
STRICTER_KEY_SETS: Final = {
    "jwt_verify_lib/JwksECMissingBothAlgCrvES256": NO_CURVE,
    "jwt_verify_lib/JwkECMissingCrv": NO_CURVE,
    "jwt_verify_lib/JwksECUnspecifiedCrv": NO_CURVE,
}


def _load(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())
    return cases


def _named(case: dict[str, Any]) -> str:
    return str(case["name"])


TOKENS: Final = _load("jwt_jws_public.json")
KEY_SETS: Final = _load("jwks_public.json")


def _key_set(case: dict[str, Any]) -> KeySet | None:
    try:
        return parse_jwks(json.dumps(case["jwks"]).encode())
    except KeySetError:
        return None


def _signature_is_good(case: dict[str, Any], keys: KeySet) -> bool:
    compact = parse_compact(case["token"].encode())
    if isinstance(compact, Denial):
        return False
    header = compact.header
    return any(
        key.verify(header.alg, compact.signing_input, compact.signature)
        for key in keys.select(header.kid, header.alg)
    )


def _token_is_good(case: dict[str, Any], keys: KeySet) -> bool:
    audience = case["audience"]
    policy = IssuerPolicy(
        name="vector",
        issuer=case["issuer"] or "",
        audiences=None if audience is None else frozenset({audience}),
        leeway_seconds=0,
        # Several cases are about the audience alone and have no exp.
        require_exp=False,
    )
    verifier = Verifier(
        [policy],
        render=lambda _: b"",
        max_token_bytes=16 * 1024,
        cache_max_entries=1,
        cache_max_bytes=64 * 1024,
    )
    verifier.install("vector", keys)
    return isinstance(verifier.verify(case["token"].encode(), now=case["now"]), Verified)


@pytest.mark.parametrize("case", TOKENS, ids=_named)
def test_published_tokens_get_their_verdict(case: dict[str, Any]) -> None:
    """Every published token is accepted or refused as graded, but for the reasons listed."""
    keys = _key_set(case)
    judge = _signature_is_good if case["layer"] == "jws" else _token_is_good
    accepted = keys is not None and judge(case, keys)

    if case["name"] in REFUSED_THOUGH_ACCEPTABLE:
        expected = False
    elif case["name"] in ACCEPTED_THOUGH_REFUSABLE:
        expected = True
    else:
        expected = case["expect"] == "accept"
    assert accepted is expected


@pytest.mark.parametrize("case", KEY_SETS, ids=_named)
def test_published_key_sets_yield_keys_or_an_error(case: dict[str, Any]) -> None:
    """Every published key set yields keys or an error as labelled, but for the reasons listed."""
    try:
        usable = len(parse_jwks(case["jwks_text"].encode())) > 0
    except KeySetError:
        usable = False
    assert usable is (case["usable_keys_expected"] and case["name"] not in STRICTER_KEY_SETS)


def test_the_tables_of_exceptions_contradict_real_cases_only() -> None:
    """Every exception names a case whose author says the opposite, so none outlives its reason."""
    expects = {case["name"]: case["expect"] for case in TOKENS}
    grades = {case["name"]: case["grade"] for case in TOKENS}
    usable = {case["name"]: case["usable_keys_expected"] for case in KEY_SETS}
    assert {expects[name] for name in REFUSED_THOUGH_ACCEPTABLE} == {"accept"}
    assert {expects[name] for name in ACCEPTED_THOUGH_REFUSABLE} == {"reject"}
    assert {grades[name] for name in ACCEPTED_THOUGH_REFUSABLE} == {"may"}
    assert {usable[name] for name in STRICTER_KEY_SETS} == {True}
    assert len(TOKENS) == 663
    assert len(KEY_SETS) == 59
