"""``clients.NAME``: what it becomes, and each way to get it wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from jwt.algorithms import ECAlgorithm

from sidecar.config.model import Client, ClientTls
from tests.config.cases import lines
from tests.config.conftest import Examine
from tests.support.certificates import Authority

START = """\
version: 1
issuers:
  shop: {issuer: "https://shop.example", audiences: [x]}
  disk: {issuer: "https://disk.example", audiences: [x], jwks_uri: "https://disk.example/keys"}
clients:
"""
ENVIRON = {"SECRET": "hunter2"}
HERE = "token_endpoint: 'https://idp.example/token', client_id: me"
BY_SECRET = f"{HERE}, client_secret: '${{SECRET}}'"


def client(examined: Examine, written: str) -> Client:
    found = examined(f"{START}  c: {{{written}}}\n", ENVIRON)
    assert (lines(found.errors), lines(found.warnings)) == ([], [])
    assert found.config is not None
    return found.config.clients["c"]


def test_the_shortest(examined: Examine) -> None:
    """Where, who and the secret are enough."""
    assert client(examined, BY_SECRET) == Client(
        "c", "me", token_endpoint="https://idp.example/token", client_secret="hunter2"
    )


def test_everything(examined: Examine, tmp_path: Path, key_file: Path) -> None:
    """Every key arrives, and paths as seen from the file."""
    authority = Authority()
    authority.write(tmp_path)
    authority.issue("me").write(tmp_path)
    found = client(
        examined,
        "issuer: shop, client_id: me, auth: private_key_jwt, key: key.pem, algorithm: ES256,"
        " key_id: k1, assertion_audience: issuer, tls: {certificate: tls.crt, key: tls.key},"
        " ca: ca.crt, allow_plaintext: true, timeout: 1s, retries: 0, max_concurrent: 2,"
        " max_waiting: 3",
    )
    assert found == Client(
        "c",
        "me",
        issuer="shop",
        auth="private_key_jwt",
        key=str(key_file),
        algorithm="ES256",
        key_id="k1",
        assertion_audience="issuer",
        tls=ClientTls(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")),
        ca=str(tmp_path / "ca.crt"),
        allow_plaintext=True,
        timeout_seconds=1,
        retries=0,
        max_concurrent=2,
        max_waiting=3,
    )


def test_no_clients(examined: Examine) -> None:
    """Nobody asks for tokens by default."""
    found = examined(START.replace("clients:\n", ""))
    assert found.config is not None
    assert found.config.clients == {}


def test_the_secret_is_in_no_repr(examined: Examine) -> None:
    """Nor is it in that of the whole configuration."""
    found = examined(f"{START}  c: {{{BY_SECRET}}}\n", ENVIRON)
    assert found.config is not None
    assert "hunter2" not in repr(found.config)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A key for ES256, where the configuration is."""
    path = tmp_path / "key.pem"
    path.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    (tmp_path / "other.crt").write_bytes(Authority().issue("other").certificate)
    return path


def pem(key: Any, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


IS = "6:{}: clients.c"
CASES = {
    "nowhere to ask": (
        "client_id: me, auth: none",
        [f"{IS.format(6)}.issuer: is required, or `token_endpoint`: one of them says where tokens "
         "are asked for"],
    ),
    "two places to ask": (
        f"issuer: shop, {HERE}, auth: none",
        [f"{IS.format(37)}.token_endpoint: is a second place to ask, besides `issuer`"],
    ),
    "an issuer that is none": (
        "issuer: shopp, client_id: me, auth: none",
        [f"{IS.format(15)}.issuer: `shopp` is none of `issuers` (did you mean `shop`?)"],
    ),
    "an issuer without discovery": (
        "issuer: disk, client_id: me, auth: none",
        [f"{IS.format(15)}.issuer: `disk` has no discovery, which would name its token endpoint; "
         "write `token_endpoint` here instead"],
    ),
    "plain http": (
        "token_endpoint: 'http://idp.example/token', client_id: me, auth: none",
        [f"{IS.format(23)}.token_endpoint: would send tokens and the client's credential over "
         "http://, where anyone on the way can read them; use https:// or write "
         "`allow_plaintext: true`"],
    ),
    "nobody": (
        "issuer: shop, client_secret: '${SECRET}'", [f"{IS.format(6)}.client_id: is required"],
    ),
    "no secret": (
        HERE, [f"{IS.format(6)}.client_secret: is required with `auth: client_secret_basic`"],
    ),
    "the secret itself": (
        f"{HERE}, client_secret: hunter2",
        [f"{IS.format(82)}.client_secret: must be `${{NAME}}` or `file:PATH`, so that the secret "
         "itself is not in the file"],
    ),
    "a key without its way": (
        f"{HERE}, key: key.pem",
        [f"{IS.format(72)}.key: needs `auth: private_key_jwt` beside it; without it, a secret is "
         "sent"],
    ),
    "a secret with another way": (
        f"{BY_SECRET}, auth: private_key_jwt, key: key.pem",
        [f"{IS.format(82)}.client_secret: would not be used with `auth: private_key_jwt`; it goes "
         "with `auth: client_secret_basic` or `auth: client_secret_post`"],
    ),
    "no key": (
        f"{HERE}, auth: private_key_jwt",
        [f"{IS.format(6)}.key: is required with `auth: private_key_jwt`"],
    ),
    "no assertion": (
        f"{HERE}, auth: client_assertion_file",
        [f"{IS.format(6)}.assertion_file: is required with `auth: client_assertion_file`"],
    ),
    "no certificate": (
        f"{HERE}, auth: tls_client_auth", [f"{IS.format(6)}.tls: is required with `auth: "
                                           "tls_client_auth`"],
    ),
    "half a certificate": (
        f"{HERE}, auth: tls_client_auth, tls: {{certificate: tls.crt}}",
        [f"{IS.format(95)}.tls.key: is required",
         f"{IS.format(109)}.tls.certificate: cannot be read: No such file or directory"],
    ),
    "a certificate over plain http": (
        "token_endpoint: 'http://127.0.0.1:1/token', client_id: me, auth: none, tls: {}",
        [f"{IS.format(83)}.tls.certificate: is required", f"{IS.format(83)}.tls.key: is required",
         f"{IS.format(83)}.tls: would not be used: only over https:// a certificate is shown"],
    ),
    "an algorithm for another key": (
        f"{HERE}, auth: private_key_jwt, key: key.pem, algorithm: RS256",
        [f"{IS.format(95)}.key: holds a key for ES256, and not for RS256"],
    ),
    "no algorithm": (
        f"{HERE}, auth: private_key_jwt, key: key.pem, algorithm: none",
        [f"{IS.format(115)}.algorithm: `none` is never used"],
    ),
    "a key that is not there": (
        f"{HERE}, auth: private_key_jwt, key: kex.pem",
        [f"{IS.format(95)}.key: cannot be read: No such file or directory"],
    ),
    "a certificate of another key": (
        f"{HERE}, auth: private_key_jwt, key: key.pem, certificate: other.crt",
        [f"{IS.format(117)}.certificate: is not one of `key`"],
    ),
    "a certificate that is none": (
        f"{HERE}, auth: private_key_jwt, key: key.pem, certificate: key.pem",
        [f"{IS.format(117)}.certificate: holds no usable certificate in PEM"],
    ),
    "whose issuer": (
        f"{HERE}, auth: private_key_jwt, key: key.pem, assertion_audience: issuer",
        [f"{IS.format(124)}.assertion_audience: `issuer` stands for the URL of `issuer`, which is "
         "not written; write the URL"],
    ),
    "no such way": (
        f"{HERE}, auth: client_secret_jwt",
        [f"{IS.format(73)}.auth: `client_secret_jwt` is not supported by this version"],
    ),
    "too many attempts": (
        f"{BY_SECRET}, retries: 6",
        [f"{IS.format(104)}.retries: must be a whole number from 0 to 5, not `6`"],
    ),
}  # fmt: skip


@pytest.mark.usefixtures("key_file")
@pytest.mark.parametrize(("written", "answers"), CASES.values(), ids=CASES)
def test_errors(examined: Examine, written: str, answers: list[str]) -> None:
    """Each mistake has its own line, which says what to write instead, and holds no secret."""
    found = lines(examined(f"{START}  c: {{{written}}}\n", ENVIRON).errors)
    assert found == answers
    assert "hunter2" not in "".join(found)


def test_an_assertion_that_is_not_there_yet(examined: Examine) -> None:
    """Whoever writes it may start later: a warning."""
    found = examined(
        f"{START}  c: {{{HERE}, auth: client_assertion_file, assertion_file: token}}\n"
    )
    assert lines(found.errors) == []
    assert lines(found.warnings) == [
        "6:112: warning: clients.c.assertion_file: cannot be read: No such file or directory; "
        "until it can be, no token is obtained"
    ]


def test_plain_http_where_it_is_allowed(examined: Examine) -> None:
    """To loopback always, elsewhere where the client says so."""
    assert client(
        examined, "token_endpoint: 'http://127.0.0.1:4444/t', client_id: a, auth: none"
    ).token_endpoint
    assert client(
        examined,
        "token_endpoint: 'http://idp/t', client_id: a, auth: none, allow_plaintext: true",
    ).allow_plaintext


EC = ec.generate_private_key(ec.SECP256R1())
PRIVATE: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(EC))
KEYS = {
    "encrypted": (pem(EC, b"x"), "is encrypted, and there is nobody to ask for a password"),
    "nothing": (b"", "holds no usable private key in PEM or as a JWK"),
    "public": (
        json.dumps({k: v for k, v in PRIVATE.items() if k != "d"}).encode(),
        "is a JWK without its private part (`d`)",
    ),
    "a set": (json.dumps({"keys": [PRIVATE]}).encode(),
              "is a set of keys; one private JWK is needed"),
    "symmetric": (b'{"kty": "oct", "k": "AAAA", "d": "A"}',
                  "is a JWK whose `kty` is none of RSA, EC and OKP"),
    "no numbers": (b'{"kty": "EC", "d": "AA"}', "is no usable private JWK"),
    "broken": (b'{"kty": ', "is not JSON"),
    "short": (pem(rsa.generate_private_key(65537, 1024)), "holds an RSA key of under 2048 bits"),
    "curve": (pem(ec.generate_private_key(ec.SECP256K1())),
              "holds a key on a curve other than P-256, P-384 and P-521"),
    "large": (b"x" * 70_000, "is larger than 64KiB"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "answer"), KEYS.values(), ids=KEYS)
def test_keys_that_are_none(examined: Examine, tmp_path: Path, content: bytes, answer: str) -> None:
    """Each says what is wrong with the file, and nothing of what is in it."""
    (tmp_path / "bad.pem").write_bytes(content)
    found = examined(f"{START}  c: {{{HERE}, auth: private_key_jwt, key: bad.pem}}\n")
    assert lines(found.errors) == [f"{IS.format(95)}.key: {answer}"]
