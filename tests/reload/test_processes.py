"""A sidecar as a process, whose files are replaced under load as Kubernetes and operators do it."""

import asyncio
import json
import os
import signal
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.config.model import Address
from sidecar.testbed.processes import RunningSidecar
from sidecar.testbed.processes import sidecar as sidecar_process
from sidecar.testbed.steady import Call, calling
from sidecar.testbed.token_mint import TokenMint
from tests.cli.conftest import command, environment
from tests.support.certificates import Authority
from tests.support.http import App, fetch
from tests.support.pod import AUDIENCE, ISSUER

pytestmark = pytest.mark.timeout(120)


class Volume:
    """A directory as the kubelet projects a ConfigMap: files are links into a directory that is
    a link itself, which is replaced as a whole."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "config.yaml"
        self._directory = directory
        self._version = 0
        directory.mkdir()
        self.path.symlink_to("..data/config.yaml")

    def replace(self, text: str) -> None:
        self._version += 1
        version = self._directory / f"..{self._version}"
        version.mkdir()
        (version / "config.yaml").write_text(text)
        link = self._directory / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self._directory / "..data")


class Stage:
    """A mint with its keys on disk, and a configuration of a pod that trusts it."""

    def __init__(self, directory: Path, app: App) -> None:
        self.mint = TokenMint(ISSUER, audience=[AUDIENCE], algorithms=("ES256",))
        self.control = directory / "c.sock"
        self._app = app
        self._jwks = directory / "keys.json"
        self._jwks.write_text(json.dumps(self.mint.jwks()))

    def text(self, role: str = "USER", inbound: str = "") -> str:
        return (
            "version: 1\n"
            f"issuers:\n  shop: {{issuer: '{ISSUER}', audiences: [{AUDIENCE}], profile: keycloak, "
            f"jwks_file: '{self._jwks}'}}\n"
            f"inbound:\n  listen: 127.0.0.1:0\n  app: {self._app.origin}\n{inbound}"
            "  rules:\n"
            "    - {paths: [/open/**], allow: anyone}\n"
            f"    - {{paths: [/**], require: {{roles: [{role}]}}}}\n"
            f"admin: {{listen: '127.0.0.1:0', control: 'unix:{self.control}'}}\n"
            "log: {access: 'off'}\n"
        )


def get(target: str, token: str = "") -> Call:
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return Call(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n".encode())


def address(running: RunningSidecar, name: str) -> Address:
    host, _, port = running.listener(name).rpartition(":")
    return Address(host, int(port))


async def reloads(admin: Address, result: str) -> int:
    text = (await fetch(admin, "/metrics")).body.decode()
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith(f'sidecar_config_reloads_total{{result="{result}"}}')
    ]
    return int(float(line.split()[1]))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_a_config_map_is_replaced_under_load(tmp_path: Path) -> None:
    """Ten versions, two of them broken: no call fails, and each good one is obeyed."""
    async with App(automatic=True).running() as app:
        stage = Stage(tmp_path, app)
        volume = Volume(tmp_path / "etc")
        volume.replace(stage.text())
        token = stage.mint.token("alice", realm_access={"roles": ["USER"]})
        async with sidecar_process("sidecar", volume.path) as running:
            inbound, admin = address(running, "inbound"), address(running, "admin")
            requests = [get("/users/x", token), get("/open/x")]

            async def counted(result: str, count: int) -> None:
                async def there() -> bool:
                    return await reloads(admin, result) == count

                await until(there)

            async with calling(lambda: (inbound.host, inbound.port), requests) as tally:
                await tally.until(50)
                for number in range(1, 4):
                    volume.replace(stage.text(inbound=f"  via: v{number}\n"))
                    await counted("success", number)
                    await tally.until(20)
                volume.replace(stage.text() + "inbond: {}\n")
                await counted("failure", 1)
                text = (await fetch(admin, "/metrics")).body.decode()
                assert "sidecar_config_last_reload_successful 0.0" in text
                await tally.until(20)
            assert tally.other_than(200) == {}
            assert tally.connections == 4  # none was closed
            volume.replace(stage.text(role="NOBODY"))
            await counted("success", 4)
            assert (await fetch(inbound, "/users/x", bearer=token)).status == 403
            said = "\n".join(running.process.last_lines(50))
            assert "the old configuration stays in use" in said
            assert "inbond: unknown key (did you mean `inbound`?)" in said


async def test_certificates_are_replaced_under_load(tmp_path: Path) -> None:
    """New connections get the new certificate; open ones go on."""
    authority = Authority()
    certificate, key = authority.issue("localhost").write(tmp_path)
    tls = f"  tls: {{certificate: '{certificate}', key: '{key}'}}\n"
    async with App(automatic=True).running() as app:
        stage = Stage(tmp_path, app)
        (tmp_path / "config.yaml").write_text(stage.text(inbound=tls))
        context = ssl.create_default_context(cadata=authority.pem.decode())
        async with sidecar_process("sidecar", tmp_path / "config.yaml") as running:
            inbound = address(running, "inbound")
            async with calling(
                lambda: ("localhost", inbound.port), [get("/open/x")], context=context
            ) as tally:
                await tally.until(20)
                before = await shown(inbound.port, context)
                authority.issue("localhost").write(tmp_path)

                async def replaced() -> bool:
                    return await shown(inbound.port, context) != before

                await until(replaced)
                await tally.until(20)
            assert tally.other_than(200) == {}
            assert tally.connections == 4


async def shown(port: int, context: ssl.SSLContext) -> bytes | None:
    """Return the certificate that a new connection is shown."""
    _reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    certificate: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return certificate


async def test_a_secret_is_replaced_under_load(tmp_path: Path) -> None:
    """The issuer wants another secret from the sidecar: it is read, shown, and nobody notices."""
    accepted = {"one"}
    seen: list[str] = []

    async def introspect(request: web.Request) -> web.Response:
        form = await request.post()
        secret = str(form["client_secret"])
        seen.append(secret)
        if secret not in accepted:
            return web.json_response({"error": "invalid_client"}, status=401)
        answer = {"active": True, "sub": "alice", "aud": AUDIENCE, "iss": ISSUER, "exp": 4102444800}
        return web.json_response(answer)

    secret = tmp_path / "secret"
    secret.write_text("one")
    application = web.Application()
    application.router.add_post("/introspect", introspect)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        async with App(automatic=True).running() as app:
            stage = Stage(tmp_path, app)
            text = stage.text().replace(
                "profile: keycloak, ",
                f"introspection: {{url: 'http://127.0.0.1:{port}/introspect', client_id: me, "
                f"client_secret: 'file:{secret}', auth: client_secret_post, "
                "cache: {positive: 0s}}, ",
            )
            text = text.replace("{roles: [USER]}", "authenticated")
            (tmp_path / "config.yaml").write_text(text)
            async with sidecar_process("sidecar", tmp_path / "config.yaml") as running:
                inbound, admin = address(running, "inbound"), address(running, "admin")
                requests = [get("/users/x", "opaque-token-of-alice")]
                async with calling(
                    lambda: (inbound.host, inbound.port),
                    requests,
                    callers=2,
                    pause_seconds=0.05,  # an issuer may be asked a hundred times a second
                ) as tally:
                    await tally.until(10)
                    accepted.add("two")
                    secret.write_text("two")

                    async def read_again() -> bool:
                        return await reloads(admin, "success") == 1

                    await until(read_again)
                    await tally.until(4)
                    accepted.remove("one")
                    await tally.until(10)
                assert tally.other_than(200) == {}
                assert seen[-1] == "two"
    finally:
        await runner.cleanup()


async def asked(*arguments: str) -> tuple[int, str, str]:
    """Run the command and return how it ended and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command(arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_operator_asks(tmp_path: Path) -> None:
    """``sidecar reload`` tells what came of it, SIGHUP does the same, ``status`` remembers."""
    async with App(automatic=True).running() as app:
        stage = Stage(tmp_path, app)
        path = tmp_path / "config.yaml"
        path.write_text(stage.text())
        async with sidecar_process("sidecar", path) as running:
            admin = address(running, "admin")
            control = ("--control", str(stage.control))
            assert await asked("reload", *control) == (
                0,
                "sidecar: the new configuration is in use\n",
                "",
            )
            path.write_text(stage.text().replace("access: 'off'", "access: all"))
            code, out, err = await asked("reload", *control)
            assert (code, out) == (1, "")
            assert err == (
                "log.access: cannot change without a restart\n"
                "sidecar: refused; the old configuration stays in use\n"
            )
            code, out, err = await asked("status", *control)
            assert "a newer configuration was refused at" in out
            assert "log.access: cannot change without a restart" in out
            path.write_text(stage.text(role="NOBODY"))
            before = await reloads(admin, "success")
            os.kill(running.process.pid, signal.SIGHUP)

            async def again() -> bool:
                return await reloads(admin, "success") > before

            await until(again)
            code, out, err = await asked("status", *control)
            assert "refused" not in out
