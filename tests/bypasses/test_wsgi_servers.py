"""Field names on their way into the environ of real WSGI servers (GHSA-vjrc-mh2v-45x6)."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from sidecar.config.model import Origin
from tests.bypasses.sending import send
from tests.carriers.app_process import App, running
from tests.support.pod import pod

SERVERS = ("waitress", "gunicorn")
NAMES = ("x-auth-subject", "x-auth-roles", "x-auth-anything", "x-sidecar-context", "x-sidecar-own")
FORGED = b"forged"


def spellings(name: str) -> Iterator[bytes]:
    """Give each mix of dashes and underscores, in three cases."""
    words = name.split("-")
    for separators in product("-_", repeat=len(words) - 1):
        mixed = words[0] + "".join(map("".join, zip(separators, words[1:], strict=True)))
        for spelling in (mixed, mixed.upper(), mixed.title()):
            yield spelling.encode()


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Origin]:
    """Start one server of each kind for all tests."""
    with running(App("environ_app", (request.param,), (request.param,))) as service:
        yield Origin("http", "127.0.0.1", service.port)


async def test_the_environ_has_our_fields_or_none(server: Origin, tmp_path: Path) -> None:
    """No spelling of a reserved name, alone or beside others, gets a value to the app."""
    fields = [(spelling, FORGED) for name in NAMES for spelling in spellings(name)]
    batches = [fields[start : start + 40] for start in range(0, len(fields), 40)]
    async with pod(tmp_path, inbound={"app": server}) as sidecar:
        token = sidecar.mint.token("alice").encode()
        for batch in [*([each] for each in fields[:12]), *batches]:
            status, _, content = await send(
                sidecar.bound.inbound,
                b"/users/x",
                fields=[*batch, *batch, (b"authorization", b"Bearer " + token)],
            )
            environ = json.loads(content)
            assert status == 200
            assert FORGED.decode() not in str(environ)
            assert environ["HTTP_X_AUTH_SUBJECT"] == "alice"
            assert environ["HTTP_X_SIDECAR_CONTEXT"].startswith("sdc1")
        status, _, content = await send(sidecar.bound.inbound, b"/open/x", fields=fields[:40])
        environ = json.loads(content)
        assert status == 200
        assert [key for key in environ if key.startswith(("HTTP_X_AUTH", "HTTP_X_SIDECAR"))] == [
            "HTTP_X_SIDECAR_CONTEXT"
        ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"SCRIPT_NAME", b"/open"),
        (b"script-name", b"/open"),
        (b"PATH_INFO", b"/admin/x"),
        (b"Script_Name", b"/open"),
    ],
)
async def test_a_caller_does_not_move_the_path_of_the_app(
    server: Origin, name: bytes, value: bytes, tmp_path: Path
) -> None:
    """gunicorn believes these of peers on loopback: /open/admin/x must not become /admin/x."""
    async with pod(tmp_path, inbound={"app": server}) as sidecar:
        _, _, content = await send(sidecar.bound.inbound, b"/open/admin/x", fields=[(name, value)])
    environ = json.loads(content)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/open/admin/x")


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"/open/%61%2Db", "/open/a-b"),
        (b"/open/caf%c3%a9", "/open/caf\u00c3\u00a9"),  # PEP 3333: octets as Latin-1
        (b"/open/a%3fb", "/open/a?b"),
        (b"/open/x/", "/open/x/"),
        (b"http://api.example/open/x", "/open/x"),
    ],
)
async def test_the_app_reads_the_path_that_was_matched(
    server: Origin, sent: bytes, read: str, tmp_path: Path
) -> None:
    """What a server makes of the forwarded target is the decoded form of what was matched."""
    async with pod(tmp_path, inbound={"app": server}) as sidecar:
        _, _, content = await send(sidecar.bound.inbound, sent)
    assert json.loads(content)["PATH_INFO"] == read
