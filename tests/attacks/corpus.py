"""The attacks: each a name, how its token is made, and what it must be answered with.

Grouped by what the attacker hopes for. A token that a line here makes is signed by the issuer's own
key unless the attack is about the signature, so that nothing else can refuse it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sidecar.core.encoding import MAX_JSON_DEPTH
from sidecar.core.outcome import Reason
from tests.attacks.forge import Forge, modulus, point, public_der, public_pem
from tests.core.signing import b64, jwk, private_key, short_rsa_key
from tests.support.pod import AUDIENCE, ISSUER, soon

Make = Callable[[Forge], bytes]

ALGORITHM = Reason.ALGORITHM_REFUSED
CRITICAL = Reason.CRITICAL_UNKNOWN
EXPIRED = Reason.TOKEN_EXPIRED
ISSUER_WRONG = Reason.ISSUER_MISMATCH
KEY = Reason.KEY_UNKNOWN
MALFORMED = Reason.TOKEN_MALFORMED
MISSING = Reason.CLAIM_MISSING
SIGNATURE = Reason.SIGNATURE_INVALID
TYPE = Reason.TOKEN_TYPE
WRONG = Reason.CLAIMS_MALFORMED
AUDIENCE_WRONG = Reason.AUDIENCE_MISMATCH
TOO_SOON = Reason.TOKEN_NOT_YET_VALID
NO_TOKEN = Reason.TOKEN_MISSING
TOO_LARGE = Reason.TOKEN_TOO_LARGE


@dataclass(frozen=True)
class Attack:
    """One token, or one whole Authorization value where *is_value*."""

    group: str
    name: str
    make: Make
    reason: Reason
    is_value: bool = False

    @property
    def status(self) -> int:
        return self.reason.facts.status


def _attacks(group: str, *rows: tuple[str, Make, Reason]) -> list[Attack]:
    return [Attack(group, name, make, reason) for name, make, reason in rows]


def _signed_header(**members: Any) -> Make:
    return lambda forge: forge.signed(header=members)


def _signed_claims(**changes: Any) -> Make:
    return lambda forge: forge.signed(forge.said(**changes))


def _json_claims(members: bytes) -> Make:
    return lambda forge: forge.json_claims(members)


def _json_header(members: bytes) -> Make:
    return lambda forge: forge.json_header(members)


def _payload(raw: bytes) -> Make:
    return lambda forge: forge.signed(raw)


def _mac(secret: Callable[[], bytes], alg: str = "HS256", **header: Any) -> Make:
    return lambda forge: forge.mac(secret(), alg, **header)


def _signature(signature: bytes, kid: str = "ec", alg: str | None = None) -> Make:
    return lambda forge: forge.with_signature(signature, kid=kid, alg=alg)


def _changed(change: Callable[[bytes, bytes, bytes], bytes], kid: str = "ec") -> Make:
    def make(forge: Forge) -> bytes:
        header, payload, signature = forge.signed(kid=kid).split(b".")
        return change(header, payload, signature)

    return make


def _unsigned(alg: object, signature: bytes = b"") -> Make:
    return lambda forge: forge.raw({"alg": alg, "typ": "JWT"}) + b"." + signature


UNSIGNED = [
    *_attacks(
        "unsigned",
        *(
            (f"alg {alg!r} without signature", _unsigned(alg), ALGORITHM)
            for alg in ("none", "None", "NONE", "nOnE", "noNe", "none ", " none", "none\0", "null",
                        "non\u0435", "", "NonE\u0000")
        ),
        ("alg none with a signature", _unsigned("none", b"AAAA"), ALGORITHM),
        ("alg none under the kid of a key",
         lambda f: f.raw({"alg": "none", "kid": "ec"}) + b".", ALGORITHM),
        ("alg none and the signature of the issuer",
         lambda f: f.signed(header={"alg": "none"}), ALGORITHM),
        *(
            (f"alg {alg!r}", _unsigned(alg, b"AAAA"), MALFORMED)
            for alg in (None, True, 0, 256, [], ["ES256"], {}, {"ES256": 1})
        ),
        ("no alg", lambda f: f.raw({"typ": "JWT"}) + b".AAAA", MALFORMED),
        ("signature cut off", _changed(lambda h, p, s: h + b"." + p + b"."), SIGNATURE),
        ("signature and its dot cut off", _changed(lambda h, p, s: h + b"." + p), MALFORMED),
    ),
]  # fmt: skip

CONFUSION = _attacks(
    "confusion",
    ("HS256 under the PEM of the RSA key", _mac(lambda: public_pem("rsa")), ALGORITHM),
    ("HS256 under that PEM without its last newline",
     _mac(lambda: public_pem("rsa").strip()), ALGORITHM),
    ("HS256 under the DER of the RSA key", _mac(lambda: public_der("rsa")), ALGORITHM),
    ("HS256 under the RSA modulus", _mac(lambda: modulus().to_bytes(256)), ALGORITHM),
    ("HS256 under the JWK as published",
     _mac(lambda: json.dumps(jwk(private_key("RS256"))).encode()), ALGORITHM),
    ("HS384 under the PEM", _mac(lambda: public_pem("rsa"), "HS384"), ALGORITHM),
    ("HS512 under the PEM", _mac(lambda: public_pem("rsa"), "HS512"), ALGORITHM),
    ("HS256 under the EC point", _mac(point, kid="ec"), ALGORITHM),
    ("HS256 under the PEM of the EC key", _mac(lambda: public_pem("ec"), kid="ec"), ALGORITHM),
    ("HS256 under an empty secret", _mac(lambda: b"\0"), ALGORITHM),
    ("HS256 under a symmetric key that was published",
     _mac(lambda: b"secret" * 8, kid="oct"), ALGORITHM),
    ("hs256 in lower case", lambda f: f.signed(header={"alg": "hs256"}), ALGORITHM),
    ("ES256 under the kid of a symmetric key", _signed_header(kid="oct"), KEY),
    ("RS256 under a key published for RS256, said to be RS384",
     lambda f: f.signed(kid="rsa", header={"alg": "RS384"}), ALGORITHM),
    ("PS256 with a key published for RS256", lambda f: f.signed(kid="rsa", alg="PS256"), ALGORITHM),
    ("RS512 with a key published for RS256", lambda f: f.signed(kid="rsa", alg="RS512"), ALGORITHM),
    ("PS256 signature said to be RS256 under a key without alg",
     lambda f: f.signed(alg="PS256", key=private_key("RS256", "bare"),
                        header={"alg": "RS256", "kid": "bare"}), SIGNATURE),
    ("RS256 signature said to be PS256 under a key without alg",
     lambda f: f.signed(alg="RS256", key=private_key("RS256", "bare"),
                        header={"alg": "PS256", "kid": "bare"}), SIGNATURE),
    ("ES256 under the kid of a P-384 key", _signed_header(kid="ec384"), ALGORITHM),
    ("ES384 under the kid of a P-256 key",
     lambda f: f.signed(kid="ec384", header={"kid": "ec"}), ALGORITHM),
    ("ES256 signature said to be ES384", _signed_header(alg="ES384"), ALGORITHM),
    ("EdDSA under the kid of an EC key",
     lambda f: f.signed(kid="ed", header={"kid": "ec"}), ALGORITHM),
    ("RS256 under the kid of an Ed25519 key",
     lambda f: f.signed(kid="rsa", header={"kid": "ed"}), ALGORITHM),
    ("Ed448 under the kid of an Ed25519 key",
     lambda f: f.signed(alg="Ed448", header={"kid": "ed"}), ALGORITHM),
    *(
        (f"alg {alg!r}", lambda f, alg=alg: f.signed(header={"alg": alg}), ALGORITHM)
        for alg in ("es256", "Es256", "ES256 ", " ES256", "ES256\0", "ES256K", "ESP256", "RS1",
                    "RSA-OAEP", "RSA1_5", "dir", "A128KW", "ECDH-ES", "PBES2-HS256+A128KW",
                    "ed25519", "eddsa", "ML-DSA-44", "../ES256", "ES256\u200b")
    ),
)  # fmt: skip

_N256: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_L25519: Final = 2**252 + 27742317777372353535851937790883648493


def _pair(r: int, s: int) -> bytes:
    return r.to_bytes(32) + s.to_bytes(32)


def _der(forge: Forge) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    head = forge.raw({"alg": "ES256", "kid": "ec"})
    signature = private_key("ES256").sign(head, ec.ECDSA(hashes.SHA256()))
    return head + b"." + b64(signature).encode()


def _unreduced(forge: Forge) -> bytes:
    """S + L verifies where S is not checked to be reduced (RFC 8032, section 5.1.7)."""
    from sidecar.core.encoding import base64url_decode

    head, _, last = forge.signed(kid="ed").rpartition(b".")
    signature = base64url_decode(last)
    scalar = int.from_bytes(signature[32:], "little") + _L25519
    return head + b"." + b64(signature[:32] + scalar.to_bytes(32, "little")).encode()


def _other_payload(forge: Forge) -> bytes:
    header, _, signature = forge.signed().split(b".")
    _, payload, _ = forge.signed(forge.said(sub="alice")).split(b".")
    return b".".join((header, payload, signature))


SIGNATURES = _attacks(
    "signatures",
    ("a key of the attacker's under the kid of the issuer's",
     lambda f: f.signed(key=private_key("ES256", "mallory")), SIGNATURE),
    ("an RSA key of the attacker's", lambda f: f.signed(kid="rsa", key=private_key("RS256", "m")),
     SIGNATURE),
    ("an Ed25519 key of the attacker's",
     lambda f: f.signed(kid="ed", key=private_key("EdDSA", "m")), SIGNATURE),
    ("no kid and a key of the attacker's",
     lambda f: f.signed(header={"kid": None}, key=private_key("ES256", "m")), SIGNATURE),
    ("the signature of another token", _other_payload, SIGNATURE),
    ("r and s zero (CVE-2022-21449)", _signature(bytes(64)), SIGNATURE),
    ("r zero", _signature(_pair(0, 1)), SIGNATURE),
    ("s zero", _signature(_pair(1, 0)), SIGNATURE),
    ("r and s one", _signature(_pair(1, 1)), SIGNATURE),
    ("r the order", _signature(_pair(_N256, 1)), SIGNATURE),
    ("s the order", _signature(_pair(1, _N256)), SIGNATURE),
    ("r and s above the order", _signature(b"\xff" * 64), SIGNATURE),
    ("ECDSA in DER", _der, SIGNATURE),
    ("ECDSA one octet short", _signature(bytes(63)), SIGNATURE),
    ("ECDSA one octet long", _signature(bytes(65)), SIGNATURE),
    ("ECDSA of a larger curve", _signature(bytes(96)), SIGNATURE),
    ("ECDSA half", _signature(bytes(32)), SIGNATURE),
    ("an empty signature", _signature(b""), SIGNATURE),
    ("RSA zero", _signature(bytes(256), "rsa"), SIGNATURE),
    ("RSA one", _signature((1).to_bytes(256), "rsa"), SIGNATURE),
    ("RSA the modulus", lambda f: f.with_signature(modulus().to_bytes(256), kid="rsa"), SIGNATURE),
    ("RSA above the modulus", _signature(b"\xff" * 256, "rsa"), SIGNATURE),
    ("RSA one octet short", _signature(bytes(255), "rsa"), SIGNATURE),
    ("RSA one octet long", _signature(bytes(257), "rsa"), SIGNATURE),
    ("Ed25519 zero", _signature(bytes(64), "ed"), SIGNATURE),
    ("Ed25519 identity and zero", _signature(b"\1" + bytes(63), "ed"), SIGNATURE),
    ("Ed25519 with S not reduced", _unreduced, SIGNATURE),
    ("Ed25519 one octet short", _signature(bytes(63), "ed"), SIGNATURE),
    ("Ed448's length for an Ed25519 key", _signature(bytes(114), "ed"), SIGNATURE),
    ("header and payload swapped", _changed(lambda h, p, s: p + b"." + h + b"." + s), MALFORMED),
    ("payload and signature swapped", _changed(lambda h, p, s: h + b"." + s + b"." + p), MALFORMED),
)  # fmt: skip

KEYS = _attacks(
    "keys",
    ("an unknown kid", _signed_header(kid="nobody"), KEY),
    ("kid as a path", _signed_header(kid="../../../../dev/null"), KEY),
    ("kid as an absolute path", _signed_header(kid="/proc/sys/kernel/randomize_va_space"), KEY),
    ("kid as SQL", _signed_header(kid="x' UNION SELECT 'k'; --"), KEY),
    ("kid as a command", _signed_header(kid="|/usr/bin/id"), KEY),
    ("kid as a URL", _signed_header(kid="http://169.254.169.254/latest/meta-data/"), KEY),
    ("kid in another case", _signed_header(kid="EC"), KEY),
    ("kid with a space", _signed_header(kid="ec "), KEY),
    ("kid with a NUL", _signed_header(kid="ec\0"), KEY),
    ("kid empty", _signed_header(kid=""), KEY),
    ("kid with a line break", _signed_header(kid="ec\r\nx-auth-subject: root"), KEY),
    ("kid __proto__", _signed_header(kid="__proto__"), KEY),
    *(
        (f"kid {str(kid)[:20]!r}", lambda f, kid=kid: f.signed(
            header=json.dumps({"alg": "ES256", "kid": kid}).encode()), MALFORMED)
        for kid in (None, 0, True, [], ["ec"], {"ec": 1}, "k" * 1025)
    ),
    ("a key of 1024 bits", lambda f: f.signed(kid="rsa", key=short_rsa_key(),
                                              header={"kid": "weak"}), KEY),
    ("a key for encryption",
     lambda f: f.signed(kid="rsa", key=private_key("RS256", "enc"), header={"kid": "enc"}), KEY),
    ("a key whose private half was published",
     lambda f: f.signed(key=private_key("ES256", "leaked"), header={"kid": "leaked"}), KEY),
    ("a key brought along (jwk)",
     lambda f: f.signed(key=private_key("ES256", "m"),
                        header={"jwk": jwk(private_key("ES256", "m"))}), SIGNATURE),
    ("a key brought along (jwk), without kid (CVE-2018-0114)",
     lambda f: f.signed(key=private_key("ES256", "m"),
                        header={"kid": None, "jwk": jwk(private_key("ES256", "m"))}), SIGNATURE),
    ("a key brought along under a kid of its own",
     lambda f: f.signed(key=private_key("ES256", "m"),
                        header={"kid": "m", "jwk": jwk(private_key("ES256", "m"), kid="m")}), KEY),
    *(
        (f"a key pointed to by {name} {str(value)[:20]}",
         lambda f, name=name, value=value: f.signed(key=private_key("ES256", "m"),
                                                    header={name: value}), SIGNATURE)
        for name, value in (
            ("jku", "https://evil.example/keys"),
            ("jku", "https://issuer.example@evil.example/keys"),
            ("jku", "file:///etc/passwd"),
            ("x5u", "https://evil.example/chain"),
            ("x5c", ["MIIB"]),
            ("x5t", "AAAA"),
            ("x5t#S256", "AAAA"),
        )
    ),
)  # fmt: skip

ENCODING = _attacks(
    "encoding",
    ("padding after the header", _changed(lambda h, p, s: h + b"=." + p + b"." + s), MALFORMED),
    ("padding after the payload", _changed(lambda h, p, s: h + b"." + p + b"==." + s), MALFORMED),
    ("padding after the signature", _changed(lambda h, p, s: h + b"." + p + b"." + s + b"=="),
     MALFORMED),
    ("a plus in the signature",
     _changed(lambda h, p, s: h + b"." + p + b"." + s[:-4] + b"+AAA"), MALFORMED),
    ("a slash in the payload",
     _changed(lambda h, p, s: h + b"." + b"/" + p[1:] + b"." + s), MALFORMED),
    ("a tilde in the header", _changed(lambda h, p, s: b"~" + h[1:] + b"." + p + b"." + s),
     MALFORMED),
    ("stray bits at the end of the signature",
     _changed(lambda h, p, s: h + b"." + p + b"." + s[:-1] + _next(s[-1:])), MALFORMED),
    ("a character too many", _changed(lambda h, p, s: h + b"." + p + b"." + s + b"B"), MALFORMED),
    ("a character too few", _changed(lambda h, p, s: h + b"." + p + b"." + s[:-1]), MALFORMED),
    ("a space within", _changed(lambda h, p, s: h + b". " + p + b"." + s), MALFORMED),
    ("a tab within", _changed(lambda h, p, s: h + b".\t" + p + b"." + s), MALFORMED),
    ("a dot too many at the end", _changed(lambda h, p, s: h + b"." + p + b"." + s + b"."),
     MALFORMED),
    ("a dot too many at the start", _changed(lambda h, p, s: b"." + h + b"." + p + b"." + s),
     MALFORMED),
    ("a dot too many between", _changed(lambda h, p, s: h + b".." + p + b"." + s), MALFORMED),
    ("six parts", _changed(lambda h, p, s: b".".join((h, p, s, h, p, s))), MALFORMED),
    ("dots alone", lambda _: b"..", MALFORMED),
    ("percent signs for dots", _changed(lambda h, p, s: h + b"%2E" + p + b"%2E" + s), MALFORMED),
    ("other dots", _changed(lambda h, p, s: "\u2024".encode().join((h, p, s))), MALFORMED),
    ("octets above ASCII", _changed(lambda h, p, s: h + b"." + p + b"." + s + b"\xff"), MALFORMED),
    ("quotes around", _changed(lambda h, p, s: b'"' + h + b"." + p + b"." + s + b'"'), MALFORMED),
    ("a comma and a second token",
     _changed(lambda h, p, s: h + b"." + p + b"." + s + b"," + h + b"." + p + b"." + s), MALFORMED),
    ("JSON serialization",
     lambda f: json.dumps(dict(zip(("protected", "payload", "signature"),
                                   f.signed().decode().split("."), strict=True))).encode(),
     MALFORMED),
    ("JSON serialization around a compact one",
     _changed(lambda h, p, s: b'{"a":"' + h + b"." + p + b"." + s + b'"}'), MALFORMED),
    ("standard alphabet throughout",
     lambda f: f.signed(f.said(sub="\u00ff\u00fe>?\u00ff")).replace(b"-", b"+").replace(b"_", b"/")
     + b"+", MALFORMED),
    ("header as UTF-16",
     lambda f: f.signed(header='{"alg":"ES256","kid":"ec"}'.encode("utf-16")), MALFORMED),
    ("header after a byte order mark",
     lambda f: f.signed(header=b'\xef\xbb\xbf{"alg":"ES256","kid":"ec"}'), MALFORMED),
    ("payload after a byte order mark",
     lambda f: f.signed(b"\xef\xbb\xbf" + json.dumps(f.said()).encode()), MALFORMED),
    ("an opaque token", lambda _: b"2YotnFZFEjr1zCsicMWpAA", MALFORMED),
    ("an API key", lambda _: b"sk_live_0123456789abcdef", MALFORMED),
    ("a PASETO", lambda _: b"v4.public." + b"A" * 128, MALFORMED),
    ("a macaroon", lambda _: b"MDAxY2xvY2F0aW9uIGh0dHA6Ly9teWJhbmsvCjAw", MALFORMED),
    ("many dots", lambda _: b"." * 8000, MALFORMED),
    ("a token of the largest size", lambda _: b"a" * 16384, MALFORMED),
    ("a token one octet larger", lambda _: b"a" * 16385, TOO_LARGE),
    ("a signed token too large", lambda f: f.signed(f.said(filler="x" * 13000)), TOO_LARGE),
)  # fmt: skip


def _next(last: bytes) -> bytes:
    """Return the character after *last* of the alphabet, whose unused bits are not zero."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(last) + 1 :][:1]


_CRITICAL: Final[list[Any]] = [
    ["exp"], ["b64"], ["alg"], [], None, "exp", {}, ["exp", "exp"], True,
]  # fmt: skip

HEADERS = _attacks(
    "headers",
    ("alg twice", _json_header(b'"alg":"none"'), MALFORMED),
    ("alg twice, once escaped", _json_header(b'"\\u0061lg":"none"'), MALFORMED),
    ("kid twice", _json_header(b'"kid":"rsa"'), MALFORMED),
    ("typ twice", _json_header(b'"typ":"logout+jwt"'), MALFORMED),
    ("a name twice that nobody reads", _json_header(b'"x":1,"x":2'), MALFORMED),
    ("a name twice deep within", _json_header(b'"x":{"y":1,"y":2}'), MALFORMED),
    ("NaN", _json_header(b'"x":NaN'), MALFORMED),
    ("Infinity", _json_header(b'"x":-Infinity'), MALFORMED),
    ("a number out of range", _json_header(b'"x":1e309'), MALFORMED),
    ("nested too deep",
     _json_header(b'"x":' + b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH), MALFORMED),
    ("nested without end", lambda f: f.signed(header=b'{"x":' + b"[" * 5000), MALFORMED),
    ("a lone surrogate", _json_header(b'"x":"\\ud800"'), MALFORMED),
    ("invalid UTF-8", _json_header(b'"x":"\xff"'), MALFORMED),
    ("a comment", _json_header(b'/**/"x":1'), MALFORMED),
    ("single quotes", lambda f: f.signed(header=b"{'alg':'ES256','kid':'ec'}"), MALFORMED),
    ("a comma at the end", lambda f: f.signed(header=b'{"alg":"ES256","kid":"ec",}'), MALFORMED),
    ("two objects", lambda f: f.signed(header=b'{"alg":"ES256","kid":"ec"}{}'), MALFORMED),
    ("a list", lambda f: f.signed(header=b'["ES256"]'), MALFORMED),
    ("null", lambda f: f.signed(header=b"null"), MALFORMED),
    ("nothing", lambda f: f.signed(header=b""), MALFORMED),
    *(
        (f"crit {crit!r}", lambda f, crit=crit: f.signed(
            header=json.dumps({"alg": "ES256", "kid": "ec", "crit": crit}).encode()), CRITICAL)
        for crit in _CRITICAL
    ),
    ("b64 false without crit", _signed_header(b64=False), CRITICAL),
    ("b64 true", _signed_header(b64=True), CRITICAL),
    ("b64 false with crit", _signed_header(b64=False, crit=["b64"]), CRITICAL),
    ("typ a list", _signed_header(typ=["JWT"]), MALFORMED),
    ("typ a number", _signed_header(typ=1), MALFORMED),
    ("cty a list", _signed_header(cty=["JWT"]), MALFORMED),
    ("a token within a token (cty JWT)",
     lambda f: f.signed(f.signed(), {"cty": "JWT"}), TYPE),
    ("cty JWT over plain claims", _signed_header(cty="application/JWT"), TYPE),
    ("a token within a token, not said", lambda f: f.signed(f.signed()), MALFORMED),
    ("enc, as a JWE has", _signed_header(enc="A256GCM"), TYPE),
    ("payload deflated (zip)",
     lambda f: f.signed(b"\xab\x56\x2a\x2e\x4d\x52\xb2\x52", {"zip": "DEF"}), MALFORMED),
)  # fmt: skip

CLAIMS_AS_JSON = _attacks(
    "claims as JSON",
    ("sub twice", _json_claims(b'"sub":"root"'), MALFORMED),
    ("sub twice, once escaped", _json_claims(b'"\\u0073ub":"root"'), MALFORMED),
    ("iss twice", _json_claims(b'"iss":"https://evil.example"'), MALFORMED),
    ("exp twice", _json_claims(b'"exp":9999999999'), MALFORMED),
    ("aud twice", _json_claims(b'"aud":"x"'), MALFORMED),
    ("roles twice", _json_claims(b'"realm_access":{"roles":[],"roles":["ADMIN"]}'), MALFORMED),
    ("NaN", _json_claims(b'"x":NaN'), MALFORMED),
    ("Infinity", _json_claims(b'"x":Infinity'), MALFORMED),
    ("a number out of range", _json_claims(b'"x":1e309'), MALFORMED),
    ("a number of 5000 digits", _json_claims(b'"x":' + b"9" * 5000), MALFORMED),
    ("nested too deep",
     _json_claims(b'"x":' + b'{"y":' * MAX_JSON_DEPTH + b"1" + b"}" * MAX_JSON_DEPTH), MALFORMED),
    ("nested without end", _payload(b"[" * 9000), MALFORMED),
    ("a lone surrogate", _json_claims(b'"x":"\\udc00"'), MALFORMED),
    ("invalid UTF-8", _json_claims(b'"x":"\xc0\xaf"'), MALFORMED),
    ("a line break in a string", _json_claims(b'"x":"\n"'), MALFORMED),
    ("a comment", _json_claims(b'//\n"x":1'), MALFORMED),
    ("a list", _payload(b"[]"), MALFORMED),
    ("a string", _payload(b'"sub"'), MALFORMED),
    ("a number", _payload(b"1"), MALFORMED),
    ("null", _payload(b"null"), MALFORMED),
    ("nothing", _payload(b""), MALFORMED),
    ("two objects", lambda f: f.signed(json.dumps(f.said()).encode() + b"{}"), MALFORMED),
    ("NULs at the end", lambda f: f.signed(json.dumps(f.said()).encode() + b"\0\0"), MALFORMED),
    ("an empty object", _payload(b"{}"), MISSING),
    ("exp out of range", lambda f: f.signed(
        json.dumps(f.said(exp=...)).encode()[:-1] + b',"exp":1e309}'), MALFORMED),
)  # fmt: skip

_NO_DATES: Final[list[Any]] = [
    "9999999999", "", None, True, False, [], {}, [9999999999], -1, 1e300, 2**53 + 1, "tomorrow",
    "1e10",
]  # fmt: skip

CLAIMS = _attacks(
    "claims",
    ("no iss", _signed_claims(iss=...), MISSING),
    *(
        (f"iss {iss!r}", _signed_claims(iss=iss), ISSUER_WRONG)
        for iss in (ISSUER + "/", ISSUER.upper(), " " + ISSUER, ISSUER + "\0", ISSUER + ".evil",
                    ISSUER + "@evil.example", ISSUER[:-1], "https://evil.example/" + ISSUER,
                    ISSUER.replace("https", "http"), "", "https://other.example.",
                    ISSUER.replace("e", "\u0435"), ISSUER + "#", ISSUER + "?")
    ),
    ("iss null", _signed_claims(iss=None), MISSING),
    *((f"iss {iss!r}", _signed_claims(iss=iss), WRONG) for iss in ([ISSUER], {ISSUER: 1}, 0, True)),
    ("no sub", _signed_claims(sub=...), MISSING),
    ("sub null", _signed_claims(sub=None), MISSING),
    *(
        (f"sub {str(sub)[:20]!r}", _signed_claims(sub=sub), WRONG)
        for sub in ("", " ", " alice", "alice ", "al\r\nice", "alice\0", "a\u2028b", "\x7f", 0,
                    True, ["alice"], {"id": "alice"}, "x" * 1025)
    ),
    ("no aud", _signed_claims(aud=...), AUDIENCE_WRONG),
    *(
        (f"aud {aud!r}", _signed_claims(aud=aud), AUDIENCE_WRONG)
        for aud in ("", [], "account", ["account", "x"], AUDIENCE.upper(), AUDIENCE + " ",
                    AUDIENCE + "\u200b", AUDIENCE[:-1], AUDIENCE + "," + AUDIENCE, "*", [""])
    ),
    *(
        (f"aud {str(aud)[:20]}", _signed_claims(aud=aud), WRONG)
        for aud in (None, 0, {AUDIENCE: 1}, [AUDIENCE, 0], [[AUDIENCE]], [None], [AUDIENCE] * 513)
    ),
    ("no exp", _signed_claims(exp=...), MISSING),
    ("exp a minute ago", lambda f: f.signed(f.said(exp=soon(-60))), EXPIRED),
    ("exp zero", _signed_claims(exp=0), EXPIRED),
    *(
        (f"{name} {value!r}", _signed_claims(**{name: value}), WRONG)
        for name in ("exp", "nbf", "iat")
        for value in _NO_DATES
    ),
    ("nbf in an hour", lambda f: f.signed(f.said(nbf=soon(3600))), TOO_SOON),
    ("iat in an hour", lambda f: f.signed(f.said(iat=soon(3600))), TOO_SOON),
    ("iat in milliseconds", lambda f: f.signed(f.said(iat=soon(0) * 1000)), TOO_SOON),
    ("scope a number", _signed_claims(scope=1), WRONG),
    ("scope an object", _signed_claims(scope={"profile.read": True}), WRONG),
    ("scope with a line break", _signed_claims(scope="a\r\nb"), WRONG),
    ("scope one name with a space", _signed_claims(scope=["a b"]), WRONG),
    ("scope of too many", _signed_claims(scope=["s"] * 513), WRONG),
    ("roles a string", _signed_claims(realm_access={"roles": "ADMIN"}), WRONG),
    ("roles an object", _signed_claims(realm_access={"roles": {"ADMIN": True}}), WRONG),
    ("roles with a line break", _signed_claims(realm_access={"roles": ["a\r\nx: y"]}), WRONG),
    ("realm_access a list", _signed_claims(realm_access=["ADMIN"]), WRONG),
    ("resource_access a list", _signed_claims(resource_access=["x"]), WRONG),
)  # fmt: skip

KINDS = _attacks(
    "other kinds of token",
    *(
        (f"header typ {typ}", _signed_header(typ=typ), TYPE)
        for typ in ("logout+jwt", "secevent+jwt", "dpop+jwt", "id_token+jwt", "statuslist+jwt",
                    "txntoken+jwt", "wpt+jwt", "oauth-authz-req+jwt", "token-introspection+jwt",
                    "vc+sd-jwt", "JOSE", "JOSE+JSON", "application/at+jwt;x=1", "text/jwt",
                    "at+jwt ", "")
    ),
    *(
        (f"claim typ {typ}", _signed_claims(typ=typ), TYPE)
        for typ in ("ID", "id", "Refresh", "Offline", "Logout", "DPoP", "bearer",
                    "RegistrationAccessToken", "")
    ),
    ("claim typ a list", _signed_claims(typ=["Bearer"]), TYPE),
    ("an ID token (at_hash)", _signed_claims(at_hash="x", nonce="n"), TYPE),
    ("an ID token (c_hash)", _signed_claims(c_hash="x"), TYPE),
    ("an ID token (s_hash)", _signed_claims(s_hash="x"), TYPE),
    ("a token said to be an ID token (token_use)", _signed_claims(token_use="id"), TYPE),
    ("a stolen token that is bound by DPoP", _signed_claims(cnf={"jkt": "x"}), TYPE),
    ("a stolen token that is bound to a certificate", _signed_claims(cnf={"x5t#S256": "x"}), TYPE),
    ("a logout token",
     _signed_claims(events={"http://schemas.openid.net/event/backchannel-logout": {}}), TYPE),
    ("an encrypted token", lambda f: b".".join((b64(b'{"alg":"RSA-OAEP","enc":"A256GCM"}').encode(),
                                                b"AAAA", b"AAAA", b"AAAA", b"AAAA")), TYPE),
    ("an encrypted token whose parts are empty", lambda _: b"....", TYPE),
    ("a JWE in three parts",
     lambda f: f.raw({"alg": "dir", "enc": "A256GCM"}) + b".AAAA", TYPE),
)  # fmt: skip

_SCHEMES: Final = [
    ("Basic", lambda _: b"Basic YWxpY2U6c2VjcmV0", NO_TOKEN),
    ("DPoP", lambda f: b"DPoP " + f.signed(), NO_TOKEN),
    ("no scheme", lambda f: f.signed(), NO_TOKEN),
    ("another scheme", lambda f: b"Token " + f.signed(), NO_TOKEN),
    ("Bearer and nothing", lambda _: b"Bearer", MALFORMED),
    ("Bearer, twice", lambda f: b"Bearer Bearer " + f.signed(), MALFORMED),
    ("a colon after Bearer", lambda f: b"Bearer: " + f.signed(), NO_TOKEN),
    ("a tab after Bearer", lambda f: b"Bearer\t" + f.signed(), NO_TOKEN),
    ("parameters", lambda f: b'Bearer token="' + f.signed() + b'"', MALFORMED),
    ("a second token", lambda f: b"Bearer " + f.signed() + b" " + f.signed(), MALFORMED),
]
SCHEMES = [Attack("schemes", *row, is_value=True) for row in _SCHEMES]

ATTACKS: Final[list[Attack]] = [
    *UNSIGNED, *CONFUSION, *SIGNATURES, *KEYS, *ENCODING, *HEADERS, *CLAIMS_AS_JSON, *CLAIMS,
    *KINDS, *SCHEMES,
]  # fmt: skip
GROUPS: Final = tuple(dict.fromkeys(attack.group for attack in ATTACKS))
