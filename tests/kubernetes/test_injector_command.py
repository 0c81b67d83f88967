"""``sidecar injector`` as a process: what is wrong with how it is called, and its life."""

import http.client
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli.injector import command
from tests.kubernetes.pods import pod
from tests.kubernetes.reviews import review
from tests.support.certificates import Authority

CLUSTER = ("--api-server", "https://127.0.0.1:1", "--api-ca", "/nowhere", "--api-token-file", "/no")


def _run(*arguments: str) -> Result:
    elsewhere = dict.fromkeys(("KUBERNETES_SERVICE_HOST", "SIDECAR_POD_NAMESPACE"))
    return CliRunner().invoke(command, arguments, env=elsewhere)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "KUBERNETES_SERVICE_HOST is not set"),
        (("--api-server", "http://x"), "must be an https:// URL"),
        (CLUSTER, "--namespace: where is the Secret kept?"),
        ((*CLUSTER, "--certificate", "x"), "--key is missing"),
        ((*CLUSTER, "--key", "x"), "--certificate is missing"),
        ((*CLUSTER, "--namespace", "Up"), "--namespace: must be the name of an object"),
        ((*CLUSTER, "--namespace", "n", "--listen", "8443"), "did you mean 127.0.0.1:8443"),
        ((*CLUSTER, "--namespace", "n", "--cpu-request", "fast"), "--cpu-request: is not"),
        ((*CLUSTER, "--namespace", "n", "--memory-limit", "1Mi"), "--memory-limit: must be"),
        (
            (*CLUSTER, "--namespace", "n", "--cpu-request", "2", "--cpu-limit", "1"),
            "2 is more than the limit",
        ),
        ((*CLUSTER, "--namespace", "n", "--native", "maybe"), "'maybe' is not one of"),
        ((*CLUSTER, "--namespace", "n", "--drain", "5"), "--drain: "),
    ],
)
def test_wrong_usage_is_told_in_words(arguments: tuple[str, ...], said: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.split())


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    certificate, _ = Authority().issue("x").write(tmp_path)
    files = ("--certificate", certificate, "--key", str(tmp_path / "missing"))
    result = _ended(*files)
    assert result.returncode == 3
    assert f"--key: {tmp_path / 'missing'} cannot be read" in result.stderr


def _ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "sidecar", "injector", *CLUSTER, "--namespace", "n", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def _running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, int]]]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "sidecar", "injector", *CLUSTER, "--namespace", "n"),
            *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    ports: dict[str, int] = {}
    try:
        for line in process.stderr:
            if line.startswith("sidecar: listening "):
                _, _, name, address = line.split()
                ports[name] = int(address.rpartition(":")[2])
            if "webhook" in ports and ("ready" in line or "not ready" in line):
                break
        yield process, ports
    finally:
        process.kill()
        process.communicate()


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_with_files_no_api_is_needed_to_serve_and_it_ends_on_sigterm(tmp_path: Path) -> None:
    """cert-manager's way: and without the API a pod is refused, in words, within its time."""
    authority = Authority()
    certificate, key = authority.issue("injector.n.svc").write(tmp_path)
    more = ("--certificate", certificate, "--key", key, "--native", "true", "--drain", "0s")
    with _running(*more) as (process, ports):
        assert _get(ports["admin"], "/readyz") == (200, "ready\n")
        trust = ssl.create_default_context(cadata=authority.pem.decode())
        trust.check_hostname = False
        connection = http.client.HTTPSConnection(
            "127.0.0.1", ports["webhook"], context=trust, timeout=20
        )
        body = json.dumps(review(pod()))
        connection.request("POST", "/mutate", body, {"Content-Type": "application/json"})
        document = json.loads(connection.getresponse().read())
        connection.close()
        response = document["response"]
        assert not response["allowed"]
        assert "cannot be decided" in response["status"]["message"]
        renewed, _ = authority.issue("injector.n.svc").write(tmp_path)
        assert renewed == certificate
        served, until = "", time.monotonic() + 30
        while served != Path(certificate).read_text():
            assert time.monotonic() < until
            served = ssl.get_server_certificate(("127.0.0.1", ports["webhook"]), timeout=10)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert err.endswith("sidecar: draining\nsidecar: stopped\n")
    (line,) = out.splitlines()
    assert json.loads(line)["result"] == "error"


def test_without_api_and_files_it_is_not_ready_and_says_what_is_missing() -> None:
    with _running() as (_, ports):
        assert _get(ports["admin"], "/livez")[0] == 200
        status, text = _get(ports["admin"], "/readyz")
    assert status == 503
    assert "certificate: " in text
    assert "version of the cluster: " in text


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with _running() as (_, ports):
        listen = f"127.0.0.1:{ports['webhook']}"
        result = _ended("--listen", listen, "--admin", "127.0.0.1:0")
    assert result.returncode == 3
    assert f"--listen: cannot listen on {listen}" in result.stderr


def test_the_sidecar_itself_imports_nothing_of_it() -> None:
    """Start and memory are paid in every pod."""
    code = "import sys, sidecar.assembly; print([m for m in sys.modules if 'kubernetes' in m])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip() == "[]"
