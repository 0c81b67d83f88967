"""Two services with a sidecar each: the first gets the tokens for the second from an issuer.

Configured as ``docs/token-exchange.md`` says.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sidecar.testbed.signing_key import SigningKey
from tests.interop.guard import documented
from tests.interop.issuer import claims_of
from tests.support.chain import Chain, Visit, chain

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "token-exchange.md"
KEY_FILE: Final = "/run/secrets/client-key.pem"


def read(name: str, replaced: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration that the page gives under *name*, with what differs *replaced*."""
    return documented(name, replaced, document=DOCUMENT)


def also(
    configuration: dict[str, Any], path: str, other: Mapping[str, Any], **request: Any
) -> None:
    """Have calls to *path* get what *other* asks for; *request* replaces some of that."""
    ((_, client),) = other["clients"].items()
    ((_, keys),) = other["outbound"]["destinations"].items()
    name = f"client{len(configuration['clients'])}"
    configuration["clients"][name] = client
    asked = {**keys["token_request"], "client": name, **request}
    rule = {"paths": [path], "token": keys["token"], "token_request": asked}
    ((_, first),) = configuration["outbound"]["destinations"].items()
    first.setdefault("rules", []).append(rule)


def two_services(
    directory: Path, configuration: dict[str, Any], *audiences: str
) -> AbstractAsyncContextManager[Chain]:
    """Run them: the second trusts the same issuer and is called by one of *audiences*."""
    issuers = {
        name: {**keys, "audiences": [*audiences]} for name, keys in configuration["issuers"].items()
    }
    inbound = {
        "rules": [{"paths": ["/**"], "require": "authenticated"}],
        "token_to_app": "forward",  # so that the test can read it
    }
    pods = {"near": configuration, "far": {"issuers": issuers, "inbound": inbound}}
    return chain(directory, pods)


def arrived(visit: Visit) -> dict[str, Any]:
    """Return the claims of the token that the second service's sidecar verified."""
    (_, far) = visit.seen
    assert "token" in far, far
    claims = claims_of(far["token"])
    assert claims["sub"] == far["subject"]
    return claims


def write_key(key: SigningKey, directory: Path) -> str:
    """Write the private key where a sidecar reads it, and return the path."""
    file = directory / "client-key.pem"
    file.write_bytes(
        key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return str(file)
