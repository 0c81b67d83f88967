"""The image at work: read-only, without capabilities, as a user that owns nothing."""

import asyncio
import json
import re
import runpy
import socket
from pathlib import Path

import pytest

from sidecar.config.model import Address
from sidecar.testbed.token_mint import TokenMint
from tests.image.container import Image
from tests.support.http import App, fetch

ROOT = Path(__file__).parents[2]
ISSUER, AUDIENCE = "https://issuer.example", "user-service"
PYTHON = "/opt/sidecar/bin/python"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture
def mint() -> TokenMint:
    return TokenMint(ISSUER, audience=[AUDIENCE])


class Pod:
    """What a pod mounts: a configuration and its keys, and a directory for the control socket."""

    def __init__(self, directory: Path, mint: TokenMint, app: str) -> None:
        self.inbound = Address("127.0.0.1", free_port())
        config, run = directory / "config", directory / "run"
        config.mkdir()
        run.mkdir(mode=0o777)
        run.chmod(0o777)  # an emptyDir
        directory.chmod(0o755)
        (config / "jwks.json").write_text(json.dumps(mint.jwks()))
        (config / "config.yaml").write_text(
            f"version: 1\n"
            f"issuers:\n"
            f"  shop: {{issuer: '{ISSUER}', audiences: [{AUDIENCE}], jwks_file: jwks.json}}\n"
            f"inbound:\n"
            f"  listen: {self.inbound}\n"
            f"  app: {app}\n"
            f"  rules: [{{paths: [/**], require: authenticated}}]\n"
            f"admin: {{listen: '127.0.0.1:0', control: 'unix:/run/sidecar/control.sock'}}\n"
        )
        self.mounts = {"/etc/sidecar": config, "/run/sidecar": run}


def test_the_version_says_compiled(image: Image) -> None:
    """The interpreted build would work too, at half the speed."""
    done = image.run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert "(compiled)" in done.stdout


def test_each_module_of_the_forwarding_path_is_native_code(image: Image) -> None:
    """As setup.py lists them; the source beside it is not what runs."""
    names = [
        path.removesuffix(".py").replace("/", ".")
        for path in runpy.run_path(str(ROOT / "setup.py"))["COMPILED"]
    ]
    code = f"""if True:
        import importlib
        for name in {names}:
            file = importlib.import_module(name).__file__
            assert file.endswith(".so"), file
    """
    done = image.run(PYTHON, "-c", code, entrypoint=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_module_can_be_imported(image: Image) -> None:
    """A file or library that was left out would be missed by a command nobody tried here."""
    code = """if True:
        import importlib, pkgutil, pathlib, sys, sidecar
        def broken(name): raise ImportError(name)
        for found in pkgutil.walk_packages(sidecar.__path__, "sidecar.", broken):
            if not found.name.startswith("sidecar.carriers.") and "__main__" not in found.name:
                importlib.import_module(found.name)
        dynamic = next(path for path in sys.path if path.endswith("lib-dynload"))
        for library in pathlib.Path(dynamic).iterdir():
            importlib.import_module(library.name.partition(".")[0])
        print(len(sys.modules))
    """
    done = image.run(PYTHON, "-c", code, entrypoint=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 500


def test_it_runs_as_the_user_without_capabilities(image: Image) -> None:
    """What these tests say of the image they say of a container under `restricted`."""
    code = """if True:
        import errno, os, pathlib, sys
        status = pathlib.Path("/proc/self/status").read_text().split()
        print(os.getuid(), os.getgid(), os.getpid(), status[status.index("CapEff:") + 1])
        for directory, _, _ in os.walk("/"):
            if not directory.startswith("/proc"):
                try:
                    os.open(directory + "/x", os.O_CREAT | os.O_WRONLY)
                except OSError as error:
                    assert error.errno in (errno.EROFS, errno.EACCES), error
                else:
                    sys.exit(directory)
    """
    done = image.run(PYTHON, "-c", code, entrypoint=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "10001 10001 1 0000000000000000\n"


def test_it_knows_the_certificate_authorities(image: Image) -> None:
    """For the standard library, which fetches keys; SSL_CERT_FILE need not be set."""
    code = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
    done = image.run(PYTHON, "-c", code, entrypoint=False)
    assert int(done.stdout) > 100


async def test_it_serves_tells_how_it_is_and_drains(
    image: Image, mint: TokenMint, tmp_path: Path
) -> None:
    """A token that verifies is served, none is refused; `kubectl exec` finds the control socket;
    on SIGTERM the request inside is answered, and the exit code is 0.
    """
    bearer = [("authorization", f"Bearer {mint.token('alice')}")]
    async with App().running() as app:
        pod = Pod(tmp_path, mint, f"http://{app.origin.host}:{app.origin.port}")
        command = image.config["Cmd"]
        with image.running(*command, binds=pod.mounts) as container:
            await asyncio.to_thread(container.wait_until_ready)
            assert (await fetch(pod.inbound, "/")).reason == "token_missing"

            status = ("status", "--config", "/etc/sidecar/config.yaml")
            done = await asyncio.to_thread(image.run, *status, binds=pod.mounts)
            assert (done.returncode, done.stderr) == (0, "")
            assert re.search(r"ready\n.*issuer shop", done.stdout, re.DOTALL)

            answer = asyncio.create_task(fetch(pod.inbound, "/slow", fields=bearer))
            request = await app.next()
            assert request.values("x-auth-subject") == ["alice"]
            container.terminate()
            request.answer(200, body=b"served to the end")
            assert (await answer).body == b"served to the end"
            assert await asyncio.to_thread(container.process.wait, 20) == 0


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [("", 0, ""), ("nonsense: 1\n", 1, "/etc/sidecar/config.yaml:9:1: nonsense")],
)
def test_a_configuration_is_checked(
    image: Image, mint: TokenMint, tmp_path: Path, line: str, code: int, said: str
) -> None:
    """As an init container or a CI job would, from the same image."""
    pod = Pod(tmp_path, mint, "http://127.0.0.1:8080")
    with (tmp_path / "config/config.yaml").open("a") as file:
        file.write(line)
    done = image.run("check", "--config", "/etc/sidecar/config.yaml", binds=pod.mounts)
    assert done.returncode == code
    assert said in done.stdout + done.stderr


def test_the_carriers_environment(image: Image) -> None:
    """Paths inside the image, which an init container copies from."""
    done = image.run("carrier", "env", "python")
    assert (done.returncode, done.stderr) == (0, "")
    path = re.search(r"PYTHONPATH=(\S+)", done.stdout)
    assert path
    assert (image.root / path[1].lstrip("/") / "sitecustomize.py").is_file()


def test_the_tour(image: Image, tmp_path: Path) -> None:
    """Everything at once: identity provider, services and sidecars, each a process of the image.

    It alone needs a place to write, for the files of its sidecars.
    """
    tmp_path.chmod(0o777)
    done = image.run("demo", binds={"/run/sidecar": tmp_path}, TMPDIR="/run/sidecar")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "512 calls, 0 wrong" in done.stdout
