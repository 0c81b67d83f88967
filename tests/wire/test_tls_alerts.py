"""A caller whose handshake we refuse is told why, in TLS."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from sidecar.tls.contexts import ClientCertificate, server_context
from sidecar.tls.files import TlsPaths, read
from tests.support.certificates import HOUR, Authority, Pair, client_context
from tests.support.wire_peer import until
from tests.support.wire_proxy import answer_each
from tests.support.wire_tls import NAME, TlsProxy, tls_proxied


def ours(
    authority: Authority, directory: Path, demand: ClientCertificate = "off"
) -> ssl.SSLContext:
    """The context that a configured listener has."""
    paths = TlsPaths(*authority.issue(NAME).write(directory), authority.write(directory))
    return server_context(paths, read(paths), demand)


async def refusal(proxy: TlsProxy, context: ssl.SSLContext) -> str:
    """Return the reason that a blocking caller with *context* hears."""

    def call() -> str:
        with socket.create_connection(proxy.address, timeout=10) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=NAME) as tls:
                    tls.recv(1)  # in TLS 1.3 the caller's handshake is over before ours fails
            except ssl.SSLError as error:
                return str(error.reason)
            return "none"

    return await asyncio.to_thread(call)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_caller_hears_why(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Whether its certificate is missing, strange or too old."""
    authority = Authority()
    async with tls_proxied(
        answer_each,
        tmp_path,
        authority=authority,
        server_context_of_ours=ours(authority, tmp_path, "required"),
    ) as proxy:

        def context(pair: Pair | None) -> ssl.SSLContext:
            made = client_context(authority, pair=pair, directory=tmp_path)
            made.maximum_version = version
            return made

        missing = await refusal(proxy, context(None))
        assert missing in ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE")
        strange = await refusal(proxy, context(Authority().issue("caller")))
        assert strange == "TLSV1_ALERT_UNKNOWN_CA"
        old = authority.issue("caller", starts=-2 * HOUR, ends=-HOUR)
        assert await refusal(proxy, context(old)) == "SSLV3_ALERT_CERTIFICATE_EXPIRED"
        await until(lambda: len(proxy.failures) == 3)


async def test_a_version_in_common_is_missing(tmp_path: Path) -> None:
    """The alert comes before anything is encrypted."""
    authority = Authority()
    context = ours(authority, tmp_path)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    async with tls_proxied(
        answer_each, tmp_path, authority=authority, server_context_of_ours=context
    ) as proxy:
        old = client_context(authority)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await refusal(proxy, old) == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_does_not_outlive_its_authority(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Who was let in before cannot come back by its session when its CA is no longer trusted."""
    authority = Authority()
    async with tls_proxied(
        answer_each,
        tmp_path,
        authority=authority,
        server_context_of_ours=ours(authority, tmp_path, "required"),
    ) as proxy:
        context = client_context(authority, pair=authority.issue("caller"), directory=tmp_path)
        context.maximum_version = version

        def call(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool, bytes]:
            with (
                socket.create_connection(proxy.address, timeout=10) as plain,
                context.wrap_socket(plain, server_hostname=NAME, session=session) as tls,
            ):
                tls.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                answer = tls.recv(4096)
                return tls.session, bool(tls.session_reused), answer

        session, reused, answer = await asyncio.to_thread(call, None)
        assert (reused, answer[:15]) == (False, b"HTTP/1.1 200 OK")
        _, reused, answer = await asyncio.to_thread(call, session)
        assert (reused, answer[:15]) == (True, b"HTTP/1.1 200 OK")
        strangers = Authority()
        paths = TlsPaths(*authority.issue(NAME).write(tmp_path), strangers.write(tmp_path))
        proxy.server_context = server_context(paths, read(paths), "required")
        with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA"):
            await asyncio.to_thread(call, session)


async def test_alerts_do_not_disturb_the_others(tmp_path: Path) -> None:
    """The context that sends them serves as any other, on many connections at once."""
    authority = Authority()
    async with tls_proxied(
        answer_each,
        tmp_path,
        authority=authority,
        server_context_of_ours=ours(authority, tmp_path, "optional"),
        max_upstream_connections=50,
    ) as proxy:
        bad = client_context(authority, pair=Authority().issue("caller"), directory=tmp_path)
        good = client_context(authority)

        async def serve_one() -> int:
            async with proxy.client(good) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                return (await client.message()).status

        results = await asyncio.gather(
            *(serve_one() for _ in range(20)), *(refusal(proxy, bad) for _ in range(10))
        )
        assert results == [200] * 20 + ["TLSV1_ALERT_UNKNOWN_CA"] * 10
