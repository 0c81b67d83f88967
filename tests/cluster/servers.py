"""An API server of its own with an etcd of its own, on loopback, and who may do what there."""

import http.client
import json
import os
import secrets
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sidecar.testbed.ports import free_ports
from tests.support.certificates import Authority

START_SECONDS: Final = 90.0
_POLL_SECONDS: Final = 0.1
_PLURALS: Final = {
    "NetworkPolicy": "networkpolicies",
    "PriorityClass": "priorityclasses",
}
_CLUSTERED: Final = (
    "Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass",
    "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    status: int
    document: dict[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return str(self.document.get("message", ""))


class Client:
    """Asks the API server as one of its users."""

    def __init__(self, port: int, context: ssl.SSLContext, token: str) -> None:
        self.port = port
        self._context = context
        self.token = token

    def as_user(self, token: str) -> "Client":
        return Client(self.port, self._context, token)

    def ask(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> Answer:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=self._context, timeout=30.0
        )
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            content = answer.read()
            warnings = tuple(answer.headers.get_all("Warning") or ())
        finally:
            connection.close()
        try:
            document = json.loads(content)
        except ValueError:
            document = {"message": content.decode(errors="replace")}
        return Answer(answer.status, document, warnings)

    def create(self, item: Mapping[str, Any], *, query: str = "") -> Answer:
        return self.ask("POST", path_of(item) + query, item)

    def made(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Create *item*, which must succeed, and return it as it is stored."""
        answer = self.create(item)
        assert answer.status == 201, answer.message
        return answer.document

    def get(self, path: str) -> dict[str, Any]:
        answer = self.ask("GET", path)
        assert answer.status == 200, answer.message
        return answer.document

    def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        answer = self.ask(
            "PATCH", path, list(operations), content_type="application/json-patch+json"
        )
        assert answer.status == 200, answer.message
        return answer.document


def path_of(item: Mapping[str, Any], name: str = "") -> str:
    """Return the path of the collection that *item* belongs to, or of its member *name*."""
    version, kind = item["apiVersion"], item["kind"]
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    if kind not in _CLUSTERED:
        root += f"/namespaces/{item['metadata']['namespace']}"
    path = f"{root}/{_PLURALS.get(kind, f'{kind.lower()}s')}"
    return f"{path}/{name}" if name else path


def documents(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects in the files that the kustomization of *directory* names."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    for name in kustomization["resources"]:
        yield from yaml.safe_load_all((directory / name).read_text())


@contextmanager
def api_server(etcd: Path, kube_apiserver: Path, directory: Path) -> Iterator[tuple[Client, Path]]:
    """Run both for the length of the block; give an administrator, and the authority's file."""
    client_port, peer_port, port = free_ports(3)
    authority = Authority("cluster")
    certificate, key = authority.issue("127.0.0.1", "localhost").write(directory, "apiserver")
    ca = Path(authority.write(directory, "cluster-ca.crt"))
    account_key = _account_keys(directory)
    token = secrets.token_hex(16)
    (directory / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    store = f"http://127.0.0.1:{client_port}"
    peers = f"http://127.0.0.1:{peer_port}"
    with (
        _program(
            directory, etcd, "--data-dir", directory / "etcd", "--unsafe-no-fsync",
            *("--listen-client-urls", store, "--advertise-client-urls", store),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
            *("--initial-cluster", f"default={peers}"),
        ),
        _program(
            directory, kube_apiserver, "--etcd-servers", store,
            *("--bind-address", "127.0.0.1", "--secure-port", port),
            *("--cert-dir", directory / "unused"),
            *("--tls-cert-file", certificate, "--tls-private-key-file", key),
            *("--token-auth-file", directory / "tokens.csv", "--authorization-mode", "RBAC"),
            *("--service-cluster-ip-range", "10.0.0.0/24"),
            *("--service-account-issuer", "https://kubernetes.default.svc"),
            *("--service-account-signing-key-file", account_key),
            *("--service-account-key-file", directory / "account.pub"),
            # Whoever makes service accounts for namespaces is not here.
            *("--disable-admission-plugins", "ServiceAccount"),
        ) as serving,
    ):  # fmt: skip
        context = ssl.create_default_context(cafile=str(ca))
        client = Client(port, context, token)
        _wait_until_ready(client, serving)
        yield client, ca


def _wait_until_ready(client: Client, serving: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert serving.poll() is None, "kube-apiserver ended: see its log"
        try:
            if client.ask("GET", "/readyz").status == 200:
                return
        except OSError:
            pass
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"kube-apiserver is not ready after {START_SECONDS:.0f} s")


@contextmanager
def _program(
    directory: Path, program: Path, *arguments: object
) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / f"{program.name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # Nothing of it is kept, so nobody waits for it to end well.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _account_keys(directory: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    private = directory / "account.key"
    private.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    (directory / "account.pub").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private
