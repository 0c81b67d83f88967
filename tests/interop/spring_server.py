"""Spring Authorization Server as the service in ``spring/`` runs it."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp

from sidecar.testbed.ports import free_ports
from sidecar.testbed.signing_key import SigningKey
from tests.interop.issuer import IssuerProcess, ask, post_form


class SpringServer:
    """One issuer; ``client_key`` signs for its client ``signing-service``."""

    def __init__(self, program: Path) -> None:
        """Run the service that was built into *program*."""
        (port,) = free_ports(1)
        self.issuer = f"http://127.0.0.1:{port}"
        self.token_url = f"{self.issuer}/oauth2/token"
        self.client_key = SigningKey.generate("ES256", kid="signing-service")
        client_keys = json.dumps({"keys": [self.client_key.public_jwk()]})
        self.process = IssuerProcess(
            "spring",
            [
                "java",
                *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx192m"),
                *("-jar", str(program / "server.jar")),
                *("--server.address=127.0.0.1", f"--server.port={port}"),
                f"--shop.client-keys={client_keys}",
            ],
            ready=re.compile(r"Started AuthorizationServer in"),
            environment={},
        )

    async def token(self, scope: str = "profile.read profile.write") -> str:
        """Return an access token of the client."""
        answer = await post_form(
            self.token_url,
            {"grant_type": "client_credentials", "scope": scope},
            client=("reporter", "reporter-secret"),
        )
        return str(answer["access_token"])

    async def user_tokens(self, user: str) -> dict[str, Any]:
        """Return what the client ``shop-web`` gets for *user*, who signs in."""
        redirect = "http://127.0.0.1:1/code"
        asked = {
            "response_type": "code",
            "client_id": "shop-web",
            "scope": "profile.read",
            "redirect_uri": redirect,
        }
        limit = aiohttp.ClientTimeout(total=30)
        jar = aiohttp.CookieJar(unsafe=True)  # keeps those of an address too
        async with aiohttp.ClientSession(timeout=limit, cookie_jar=jar) as person:
            name = aiohttp.encode_basic_auth(user, f"{user}-password")
            await person.get(f"{self.issuer}/test/session", headers={"authorization": name})
            answer = await person.get(
                f"{self.issuer}/oauth2/authorize", params=asked, allow_redirects=False
            )
            (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
        return await post_form(
            self.token_url,
            {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect},
            client=("shop-web", "shop-web-secret"),
        )

    async def add_key(self) -> None:
        """Sign with a new key from now on."""
        await ask("POST", f"{self.issuer}/test/keys")

    async def drop_old_keys(self) -> None:
        """Publish no key but the one that signs."""
        await ask("DELETE", f"{self.issuer}/test/keys")
