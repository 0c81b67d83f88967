"""A configuration examined on another machine than the one it is for."""

import pytest

from sidecar.config.elsewhere import examine_texts

BASE = "version: 1\nissuers:\n  shop: {issuer: https://idp.example, audiences: [a]}\n"


def test_files_are_not_looked_at() -> None:
    """Key files, certificates and directories are on the other machine."""
    text = """\
version: 1
issuers:
  one: {issuer: https://one.example, audiences: [a], jwks_file: no/such.json}
  two: {issuer: https://two.example, audiences: [a], ca: /no/ca.pem, keys_cache: /no/where}
inbound:
  tls: {certificate: /no/cert.pem, key: /no/key.pem, client_ca: /no/ca.pem}
  identity: {signed: {header: x-identity, audience: a, key: /no/key.pem}}
outbound:
  destinations:
    a: {listen: 127.0.0.1:9001, upstream: https://a.example, tls: {ca: /no/ca.pem}}
"""
    found = examine_texts([("config", text.encode())])
    assert found.errors == ()
    assert found.config is not None


def test_references_stand_for_themselves() -> None:
    """A text with a reference is taken as it is; where it must be something else, nothing is."""
    text = BASE + 'inbound: {listen: "${LISTEN}", via: "${VIA}"}\nlog: {level: "${LEVEL}"}\n'
    found = examine_texts([("config", text.encode())])
    assert (found.errors, found.config) == ((), None)
    assert [each.value for each in found.draft.references] == ["${LISTEN}", "${VIA}", "${LEVEL}"]
    assert [str(each.value) for each in found.draft.listeners] == ["0.0.0.0:15490"]


@pytest.mark.parametrize("secret", ["file:/run/secret", "${SECRET}"])
def test_secrets(secret: str) -> None:
    """A secret is checked to be a reference, and what is behind it is not asked for."""
    introspection = f"{{url: https://idp.example/i, client_id: a, client_secret: '{secret}'}}"
    text = BASE.replace("audiences", f"introspection: {introspection}, audiences")
    found = examine_texts([("config", text.encode())])
    assert found.errors == ()
    assert found.config is not None
    assert [each.value for each in found.draft.references] == [secret]


WRONG = [
    ('inbound: {listen: "${LISTEN}", mode: loud}\n', "config:4:38: inbound.mode: `loud` is not"),
    ('inbound: {via: "${BROKEN"}\n', "config:4:16: inbound.via: `${BROKEN` holds `${` without"),
    ("inbound: {tls: {certificate: a.pem}}\n", "config:4:16: inbound.tls.key: is required"),
    ('token_cache: {max_entries: "${N}"}\n', "config:4:28: token_cache.max_entries: must be a"),
    ("admin: {listen: 0.0.0.0:15406}\n", "admin.listen: is taken"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_the_rest_is_checked(line: str, message: str) -> None:
    """Whatever does not depend on the other machine is found."""
    found = examine_texts([("config", (BASE + line).encode())])
    assert len(found.errors) == 1
    assert message in str(found.errors[0])


def test_several_texts() -> None:
    """Texts merge as files do, and each problem names its own."""
    texts = [("one", BASE.encode()), ("two", b"version: 1\nlog: {level: loud}\nissuers: {}\n")]
    found = examine_texts(texts)
    assert [str(error).partition(":")[0] for error in found.errors] == ["two"]
    assert [str(e) for e in examine_texts([("x", b"\xff"), ("y", b"- a")]).errors] == [
        "x:1:1: is not UTF-8",
        "y:1:1: must be a map of keys such as `version: 1`",
    ]
