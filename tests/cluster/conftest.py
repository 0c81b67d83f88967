"""One API server for all tests of this package, and one injector that it calls."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.testbed.ports import free_ports
from tests.cluster.programs import PROGRAMS
from tests.cluster.servers import Client, api_server, documents, path_of

BASE: Final = Path(__file__).parents[2] / "deploy" / "k8s" / "base"
APPLICATION: Final = BASE.parent / "components" / "application"
SYSTEM: Final = "jwt-sidecar-system"
NAME: Final = "jwt-sidecar-injector"
SHOP: Final = "shop"
RESTRICTED: Final = "restricted"
"""One that asked for sidecars, and for Pod Security of the level of that name."""
OTHER: Final = "other"
"""A namespace that asked for nothing."""
CONFIG: Final = """\
version: 1
issuers:
  shop: {issuer: "https://idp.example", audiences: [orders]}
"""
READY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02


@dataclass
class Injector:
    """A real process, and what it has said."""

    process: subprocess.Popen[str]
    port: int
    lines: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.lines.append("(ended)")
            self.news.notify_all()

    def said(self, part: str, *, times: int = 1) -> None:
        """Wait until it has said *part* so many *times*."""

        def is_said() -> bool:
            return sum(part in line for line in self.lines) >= times or "(ended)" in self.lines

        with self.news:
            assert self.news.wait_for(is_said, READY_SECONDS), self.lines
            assert sum(part in line for line in self.lines) >= times, self.lines


@dataclass
class Cluster:
    """The API server, its administrator, and how an injector is run in front of it."""

    admin: Client
    api_port: int
    ca: Path
    token_file: Path
    directory: Path
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def account(self) -> Client:
        """Ask as the injector's service account."""
        return self.admin.as_user(self.token_file.read_text())

    @contextmanager
    def injector(self, *more: str) -> Iterator[Injector]:
        """Run one until the end of the block."""
        (port,) = free_ports(1)
        environment = {**os.environ, "SIDECAR_POD_NAMESPACE": SYSTEM}
        process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "sidecar",
                    "injector",
                    "--image",
                    _image(port),
                ),
                *("--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--drain", "0s"),
                *("--api-server", f"https://127.0.0.1:{self.api_port}", "--api-ca", str(self.ca)),
                *("--api-token-file", str(self.token_file), *more),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        injector = Injector(process, port)
        listening = threading.Thread(target=injector.listen)
        listening.start()
        try:
            injector.said("sidecar: ready")
            yield injector
        finally:
            process.terminate()
            try:
                process.wait(30.0)
            finally:
                process.kill()
                process.wait()
                listening.join()
                assert process.stderr is not None
                process.stderr.close()

    def call(self, injector: Injector) -> None:
        """Have the API server call *injector*, and wait until it does."""
        for kind in ("mutating", "validating"):
            path = f"/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/{NAME}"
            place = "/webhooks/0/clientConfig/service/port"
            self.admin.patch(path, [{"op": "replace", "path": place, "value": injector.port}])
        container = {"name": "app", "image": "app:1"}
        probe = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "probe", "namespace": SHOP},
            "spec": {"containers": [container]},
        }

        def is_called() -> bool:
            self.said = self.admin.create(probe, query="?dryRun=All").document
            return _image(injector.port) in str(self.said)

        # The API server takes a moment to see a change of its own configuration.
        until(is_called, lambda: str(self.said))


def until(holds: Callable[[], bool], tell: Callable[[], object] = str) -> None:
    """Wait for what another process will do; *tell* what there is instead."""
    end = time.monotonic() + READY_SECONDS
    while not holds():
        assert time.monotonic() < end, tell()
        time.sleep(_POLL_SECONDS)


def _image(port: int) -> str:
    return f"registry.example/sidecar:{port}"


def _found() -> list[Path]:
    paths = []
    for program in PROGRAMS:
        found = program.find()
        if found is None:
            reason = f"{program.name} is not there ({program.remedy}, or set {program.variable})"
            # Not with SIDECAR_REQUIRE_ALL: building one takes as long as all of CI may.
            if os.environ.get("SIDECAR_REQUIRE_CLUSTER") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        paths.append(found)
    return paths


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with all of ``deploy/k8s/base`` and a namespace of each kind."""
    etcd, kube_apiserver = _found()
    directory = tmp_path_factory.mktemp("cluster")
    with api_server(etcd, kube_apiserver, directory) as (admin, ca):
        for item in documents(BASE):
            admin.made(_reachable(item))
        asking = {"jwt-sidecar/injection": "enabled"}
        fenced = {**asking, "pod-security.kubernetes.io/enforce": "restricted"}
        for name, labels in ((SHOP, asking), (RESTRICTED, fenced), (OTHER, {})):
            metadata = {"name": name, "labels": labels}
            admin.made({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        admin.made(config_map("jwt-sidecar"))
        admin.made(config_map("jwt-sidecar", namespace=RESTRICTED))
        token_file = directory / "token"
        token_file.write_text(_token(admin))
        yield Cluster(admin, admin.port, ca, token_file, directory)


@pytest.fixture(scope="session")
def _running(cluster: Cluster) -> Iterator[Injector]:
    with cluster.injector() as running:
        yield running


@pytest.fixture
def injector(cluster: Cluster, _running: Injector) -> Injector:
    """The one that most tests share, called by the API server."""
    cluster.call(_running)
    return _running


def config_map(name: str, text: str = CONFIG, namespace: str = SHOP) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"config.yaml": text},
    }


def _reachable(item: dict[str, Any]) -> dict[str, Any]:
    """Return *item*; the Service leads to this machine, since there is no network of pods."""
    if item["kind"] != "Service":
        return item
    return {**item, "spec": {"type": "ExternalName", "externalName": "localhost"}}


def _token(admin: Client) -> str:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"namespace": SYSTEM},
    }
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = admin.ask("POST", f"{path_of(account, NAME)}/token", body)
    assert answer.status == 201, answer.message
    return str(answer.document["status"]["token"])
