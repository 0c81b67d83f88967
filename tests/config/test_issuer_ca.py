"""``issuers.NAME.ca``: read when the configuration is checked, like other files of TLS."""

import os
from pathlib import Path

import pytest

from tests.config.cases import lines
from tests.config.conftest import Examine
from tests.support.certificates import Authority


def issuer(rest: str) -> str:
    return f'version: 1\nissuers: {{a: {{issuer: "https://a.example", audiences: [x], {rest}}}}}\n'


def test_a_file_of_authorities(examined: Examine, tmp_path: Path) -> None:
    """The path starts at the file's directory; several authorities and comments are usual."""
    bundle = b"# \xc3\xa4lter\n" + Authority().pem + b"# new\n" + Authority().pem
    (tmp_path / "ca.crt").write_bytes(bundle)
    for source in ("", ", jwks_uri: 'https://a.example/keys'", ", discovery_url: 'https://b/d'"):
        found = examined(issuer(f"ca: ca.crt{source}"))
        assert (lines(found.errors), lines(found.warnings)) == ([], [])
        assert found.config is not None
        assert found.config.issuers["a"].ca == str(tmp_path / "ca.crt")


def test_the_authorities_of_the_system(examined: Examine) -> None:
    """Nothing written means what the system trusts."""
    found = examined(issuer("leeway: 1s"))
    assert found.config is not None
    assert found.config.issuers["a"].ca is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gone.crt", "cannot be read: No such file or directory"),
        (".", "is not a regular file"),
        ("pipe", "is not a regular file"),
        ("empty", "holds no certificate in PEM"),
        ("junk.pem", "holds no certificate in PEM"),
        ("tls.key", "holds no certificate in PEM"),
        ("huge", "is larger than 1024KiB"),
    ],
)
def test_files_that_cannot_be_used(
    examined: Examine, tmp_path: Path, name: str, problem: str
) -> None:
    """Each is an error at its place that says what is wrong with the file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "junk.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    )
    (tmp_path / "tls.key").write_bytes(Authority().issue("a.test").key)
    (tmp_path / "huge").write_bytes(b"#" * ((1 << 20) + 1))
    found = examined(issuer(f"ca: {name}"))
    (line,) = lines(found.errors)
    assert line.startswith("2:")
    assert line.endswith(f" issuers.a.ca: {problem}")


def test_nobody_to_vouch_for(examined: Examine, tmp_path: Path) -> None:
    """With keys on disk nothing is fetched, unless tokens are asked about."""
    (tmp_path / "ca.crt").write_bytes(Authority().pem)
    (tmp_path / "keys.json").write_text('{"keys": []}')
    on_disk = "ca: ca.crt, jwks_file: keys.json"
    told = "is for keys that are fetched"
    assert any(told in line for line in lines(examined(issuer(on_disk)).errors))
    asked = f"{on_disk}, introspection: {{url: 'https://a.example/i', auth: none}}"
    assert not any(told in line for line in lines(examined(issuer(asked)).errors))
