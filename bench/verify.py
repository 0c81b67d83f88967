"""Before anything is measured: does this proxy do the work it is measured for?"""

import http.client
import secrets
from collections.abc import Mapping

from bench.nginx import ECHO_HEADER, PROBE_HEADER, TOKEN_HEADER
from bench.programs import BenchError
from bench.proxy import Proxy

TIMEOUT_SECONDS = 5.0


def verify(proxy: Proxy, *, token: str, forged: str) -> None:
    """Send one good and two bad requests; raise ``BenchError`` unless each gets its due.

    *forged* is a token of the same issuer signed with another key.
    """
    probe = secrets.token_hex(8)
    answer = _get(proxy, {"Authorization": f"Bearer {token}", PROBE_HEADER: probe})
    _expect(proxy, "with a good token", answer.status, 200)
    if answer.getheader(ECHO_HEADER) != probe:
        raise BenchError(f"{proxy.name}: the request with a good token did not reach the backend")
    if answer.getheader(TOKEN_HEADER):
        raise BenchError(f"{proxy.name}: the backend saw the token, which costs less to do")
    _expect(proxy, "without a token", _get(proxy, {}).status, 401)
    forged_status = _get(proxy, {"Authorization": f"Bearer {forged}"}).status
    _expect(proxy, "with a forged token", forged_status, 401)


def verify_attached(proxy: Proxy, *, headers: Mapping[str, str], token: str) -> None:
    """Call out with *headers*; raise ``BenchError`` unless the backend saw this *token*."""
    answer = _get(proxy, headers)
    _expect(proxy, "for a call", answer.status, 200)
    if answer.getheader(TOKEN_HEADER) != f"Bearer {token}":
        raise BenchError(f"{proxy.name}: the token was not attached")
    if _get(proxy, {}).status != 403:
        raise BenchError(f"{proxy.name}: a call that names no request was not refused")


def _get(proxy: Proxy, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/probe", headers=dict(headers))
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{proxy.name}: no answer: {error}") from error
    else:
        return response
    finally:
        connection.close()


def _expect(proxy: Proxy, when: str, status: int, expected: int) -> None:
    if status != expected:
        raise BenchError(f"{proxy.name}: {status} {when}, expected {expected}")
