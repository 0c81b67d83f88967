"""The webhook over real TLS, asked as kube-apiserver asks: HTTP/1.1, connections kept."""

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from sidecar.kubernetes.authority import context_of
from sidecar.kubernetes.certificates import renewed
from sidecar.kubernetes.injector_metrics import InjectorMetrics
from sidecar.kubernetes.webhook import MAX_BODY_BYTES, AdmissionLog, Listener, Operators, Webhook
from sidecar.telemetry.lines import Lines
from sidecar.tls.files import TlsContents
from tests.kubernetes.pods import pod
from tests.kubernetes.reviews import SERVICES, UID, review
from tests.kubernetes.test_certificates import NAMES
from tests.kubernetes.test_deciding import FakeCluster, decider

JSON = {"Content-Type": "application/json"}


@dataclass
class Running:
    """A webhook and its operators' port, and what there is to see of them."""

    port: int
    admin: str
    webhook: Webhook
    listener: Listener
    cluster: FakeCluster
    log: list[bytes]
    missing: list[str]
    context: ssl.SSLContext | None
    """What is served with; a test may replace it."""
    trust: ssl.SSLContext
    session: aiohttp.ClientSession

    def post(self, body: object, path: str = "/mutate?timeout=10s", **more: Any) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        options: dict[str, Any] = {
            "data": io.BytesIO(data),
            "headers": JSON,
            "ssl": self.trust,
            "server_hostname": NAMES[0],
        }
        return self.session.post(f"https://127.0.0.1:{self.port}{path}", **(options | more))

    async def answer(self, body: object, path: str = "/mutate?timeout=10s") -> dict[str, Any]:
        async with self.post(body, path) as answer:
            assert answer.status == 200, await answer.text()
            document = await answer.json()
        response: dict[str, Any] = document["response"]
        return response

    async def operators(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.admin + path) as answer:
            return answer.status, await answer.text()


def serving() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context of an authority of its own, and a client's that trusts it."""
    made = renewed(None, NAMES, datetime.now(UTC))
    context = context_of(TlsContents(certificate=made.certificate, key=made.key))
    return context, ssl.create_default_context(cadata=made.bundle.decode())


@asynccontextmanager
async def running(**limits: Any) -> AsyncIterator[Running]:
    cluster, metrics = FakeCluster(), InjectorMetrics()
    log: list[bytes] = []
    missing: list[str] = []
    context, trust = serving()
    async with decider(cluster) as deciding, aiohttp.ClientSession() as session:
        lines = AdmissionLog(Lines(log.append, "test"), lambda: 0.0)
        webhook = Webhook(deciding, metrics, lines)
        listener = Listener(webhook.answer, **limits)
        admin = Listener(Operators(metrics, lambda: missing).answer)
        host, port = await admin.start("127.0.0.1", 0)
        made = Running(
            0, f"http://{host}:{port}", webhook, listener, cluster, log, missing, context, trust,
            session,
        )  # fmt: skip
        _, made.port = await listener.start("127.0.0.1", 0, tls=lambda: made.context)
        try:
            yield made
        finally:
            await listener.stop(1.0)
            await admin.stop(1.0)
            lines.close()


def logged(made: Running) -> list[Mapping[str, Any]]:
    return [json.loads(line) for batch in made.log for line in batch.splitlines()]


async def test_a_review_is_answered_over_a_kept_connection() -> None:
    async with running() as made:
        first = await made.answer(review(pod()))
        again = await made.answer(review(pod(), uid="2"))
        assert (first["uid"], first["allowed"], first["patchType"]) == (UID, True, "JSONPatch")
        assert again["uid"] == "2"
        assert len(made.listener._connections._open) == 1


async def test_a_service_is_for_the_other_path() -> None:
    """What the wrong path is asked about is refused: nobody would notice it otherwise."""
    async with running() as made:
        service = review({"spec": {}}, resource=SERVICES)
        assert (await made.answer(service, "/validate"))["allowed"]
        refused = await made.answer(service, "/mutate")
        assert not refused["allowed"]
        assert "/validate" in refused["status"]["message"]
        assert not (await made.answer(review(pod()), "/validate"))["allowed"]


async def test_h2_is_offered_and_http_1_1_taken() -> None:
    """As Go's client does it."""
    async with running() as made:
        made.trust.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await asyncio.open_connection(
            "127.0.0.1", made.port, ssl=made.trust, server_hostname=NAMES[0]
        )
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("body", "path", "more", "status"),
    [
        (b"{", "/mutate", {}, 400),
        (b'{"apiVersion": "admission.k8s.io/v1beta1"}', "/mutate", {}, 400),
        (b"{}", "/mutat", {}, 404),
        (b"{}", "/", {}, 404),
        (b"a=b", "/mutate", {"headers": {"Content-Type": "text/plain"}}, 415),
        (b" " * (MAX_BODY_BYTES + 1), "/mutate", {}, 413),
    ],
)
async def test_what_cannot_be_read_is_refused_in_words(
    body: bytes, path: str, more: Any, status: int
) -> None:
    async with running() as made:
        async with made.post(body, path, **more) as answer:
            assert answer.status == status
            assert len(await answer.text()) > 5
        assert (await made.answer(review(pod())))["allowed"]


async def test_a_body_without_a_length_is_bounded_too() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65536

    async with running() as made:
        try:
            async with made.post(b"", data=endless()) as answer:
                assert answer.status == 413
        except aiohttp.ClientConnectionError:
            pass  # the connection is closed while we still write
        assert (await made.answer(review(pod())))["allowed"]


async def test_get_is_refused() -> None:
    async with (
        running() as made,
        made.session.get(
            f"https://127.0.0.1:{made.port}/mutate", ssl=made.trust, server_hostname=NAMES[0]
        ) as answer,
    ):
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_the_api_servers_patience_is_ours() -> None:
    """It waits two seconds: whoever would answer after it has answered nobody."""
    async with running() as made:
        made.cluster.hangs = True
        response = await made.answer(review(pod()), "/mutate?timeout=1s")
        assert "no decision within 0.8s" in response["status"]["message"]


async def test_a_new_certificate_is_used_while_requests_go_on() -> None:
    """Connections that are open stay open; new ones see the new certificate; no request fails."""
    async with running() as made:
        made.cluster.config_maps["slow"] = made.cluster.config_maps["jwt-sidecar"]
        old_trust = made.trust
        stop = asyncio.Event()
        answered = 0

        async def keep_asking() -> None:
            nonlocal answered
            while not stop.is_set():
                async with made.post(review(pod()), ssl=old_trust) as answer:
                    assert answer.status == 200
                answered += 1

        async with asyncio.TaskGroup() as group:
            asking = group.create_task(keep_asking())
            while answered < 3:
                await asyncio.sleep(0)
            made.context, new_trust = serving()
            until = answered + 3
            while answered < until and not asking.done():
                await asyncio.sleep(0)
            async with made.post(review(pod()), ssl=new_trust) as answer:
                assert answer.status == 200
            stop.set()
        made.trust = old_trust
        async with aiohttp.ClientSession() as fresh:
            made.session, before = fresh, made.session
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await made.answer(review(pod()))
            made.session = before


async def test_without_a_certificate_handshakes_fail_and_the_process_lives() -> None:
    async with running() as made:
        context, made.context = made.context, None
        with pytest.raises(aiohttp.ClientConnectorError):
            await made.answer(review(pod()))
        made.context = context
        assert (await made.answer(review(pod())))["allowed"]


async def test_whoever_holds_connections_open_does_not_keep_the_api_server_out() -> None:
    async with running(max_connections=2) as made:
        held = [
            await asyncio.open_connection(
                "127.0.0.1", made.port, ssl=made.trust, server_hostname=NAMES[0]
            )
            for _ in range(4)
        ]
        assert (await made.answer(review(pod())))["allowed"]
        assert len(made.listener._connections._open) <= 2
        for _, writer in held:
            writer.transport.abort()


async def test_draining_answers_and_then_lets_go() -> None:
    async with running() as made:
        made.webhook.is_draining = True
        async with made.post(review(pod())) as answer:
            assert answer.status == 200
            assert answer.headers["Connection"] == "close"


async def test_what_is_being_answered_is_finished_at_the_end() -> None:
    async with running() as made:
        begun, gate = asyncio.Event(), asyncio.Event()
        services = made.cluster.services

        async def slow(namespace: str) -> Any:
            begun.set()
            await gate.wait()
            return await services(namespace)

        made.cluster.services = slow  # type: ignore[method-assign]
        asking = asyncio.create_task(made.answer(review(pod())))
        await begun.wait()
        stopping = asyncio.create_task(made.listener.stop(5.0))
        await asyncio.sleep(0)
        gate.set()
        assert (await asking)["allowed"]
        await stopping


async def test_operators_see_probes_and_counts() -> None:
    async with running() as made:
        await made.answer(review(pod()))
        await made.answer(review(pod(annotations={"nonsense": "1"})))
        assert await made.operators("/livez") == (200, "live\n")
        assert await made.operators("/readyz") == (200, "ready\n")
        made.missing.append("certificate: not\nthere")
        assert await made.operators("/readyz") == (503, "certificate: not there\n")
        assert (await made.operators("/mutate"))[0] == 404
        _, text = await made.operators("/metrics")
        total = "sidecar_injector_admissions_total"
        assert f'{total}{{kind="pod",result="injected"}} 1.0' in text
        assert f'{total}{{kind="pod",result="refused"}} 1.0' in text
        assert "sidecar_injector_admission_duration_seconds_count 2.0" in text


async def test_the_log_says_what_came_of_whom_and_nothing_of_the_object() -> None:
    async with running() as made:
        secret = pod(annotations={"nonsense": "1"})
        secret["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": "hunter2"}]
        await made.answer(review(secret, dryRun=True))
    (line,) = logged(made)
    assert line["result"] == "refused"
    assert (line["namespace"], line["name"], line["uid"]) == ("shop", "orders", UID)
    assert line["dry_run"] is True
    assert "jwt-sidecar/nonsense" in line["message"]
    assert "hunter2" not in json.dumps(line)
