"""Real WSGI servers behind a sidecar: of every spelling that callers send, none arrives."""

import json
import re
import sys
from pathlib import Path

import pytest

from sidecar.config.model import Address, Identity, Origin, SignedHeader
from sidecar.core.identity import IdentityHeader
from sidecar.testbed.processes import child_environment, child_process
from tests.support.http import fetch
from tests.support.needs import needs_module
from tests.support.pod import pod

NAMES = ("x-auth-subject", "x-auth-roles", "x-auth-assertion", "x-user-email", "remote-user")
IDENTITY = Identity(
    headers=(
        IdentityHeader("x-user-email", "claim", ("email",)),
        IdentityHeader("remote-user", "subject", format="text"),
    ),
    signed=SignedHeader("user-service"),
)
SPOOFED = [
    (spelling, "mallory")
    for name in NAMES
    for spelling in (
        name,
        name.upper(),
        name.replace("-", "_"),
        name.replace("-", "_", 1),
        name.title().replace("-", "_"),
        name.replace("-", "."),
        name.replace("-", "~"),
    )
]


@pytest.mark.parametrize("server", ["wsgiref", "waitress", "gunicorn"])
async def test_an_app_is_told_what_we_say_and_nothing_else(tmp_path: Path, server: str) -> None:
    """Where two of these servers would have believed the caller."""
    if server != "wsgiref":
        needs_module(server)
    command = [sys.executable, "-m", "tests.apps.environ_wsgi", "0", server]
    # In a session of its own, because gunicorn has workers.
    async with child_process(
        server, command, environment=child_environment(), with_children=True
    ) as child:
        port = int((await child.line(re.compile(r"^(\d+)$"), timeout_seconds=20))[1])
        app = Origin("http", "127.0.0.1", port)
        direct = await fetch(Address("127.0.0.1", port), fields=[("X_User_Email", "mallory")])
        believes = json.loads(direct.body).get("HTTP_X_USER_EMAIL") == "mallory"
        assert believes is (server != "waitress")
        async with pod(tmp_path, inbound={"app": app, "identity": IDENTITY}) as running:
            token = running.mint.token("alice", email="alice@shop.example")
            for path, bearer in (("/users/a", token), ("/open/x", token), ("/healthz", None)):
                answer = await fetch(running.bound.inbound, path, bearer=bearer, fields=SPOOFED)
                assert answer.status == 200
                told = json.loads(answer.body)
                assert "mallory" not in answer.body.decode()
                about = {
                    name: value
                    for name, value in told.items()
                    if re.match("HTTP_(X.AUTH.|X.USER.|REMOTE.USER)", name)
                }
                if path == "/users/a":
                    assert about.pop("HTTP_X_AUTH_ASSERTION").count(".") == 2
                    assert about == {
                        "HTTP_X_AUTH_SUBJECT": "alice",
                        "HTTP_X_AUTH_ISSUER": "https://issuer.example",
                        "HTTP_X_AUTH_SCOPES": "profile.read",
                        "HTTP_X_AUTH_ROLES": "ADMIN,USER",
                        "HTTP_X_USER_EMAIL": "alice@shop.example",
                        "HTTP_REMOTE_USER": "alice",
                    }
                else:
                    assert about == {}
