"""The same service where third-party clients are installed: what apps do with those to call out.

``SERVICE_CONNECTIONS`` bounds the pools that requests share.
"""

import contextlib
import os
import sys
import threading
from typing import Any
from urllib.parse import urlsplit

import botocore.config
import botocore.session
import httpx
import requests
import urllib3

from .service import Handler, in_thread, main, pattern

CONNECTIONS = int(os.environ.get("SERVICE_CONNECTIONS", "2"))
LIMITS = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)

# Its pool may close a connection that it has just given to another thread (encode/httpcore#1110,
# with or without carrier): that call fails, or hangs until it times out.
HTTPX = httpx.Client(limits=LIMITS, trust_env=False, timeout=httpx.Timeout(60, read=5))
URLLIB3 = urllib3.PoolManager(maxsize=CONNECTIONS, block=True, retries=urllib3.Retry(9, redirect=9))
REQUESTS = requests.Session()
REQUESTS.trust_env = False
REQUESTS.mount(
    "http://",
    requests.adapters.HTTPAdapter(
        pool_maxsize=CONNECTIONS, pool_block=True, max_retries=urllib3.Retry(9, redirect=False)
    ),
)


_buckets: dict[str, Any] = {}
_bucket_lock = threading.Lock()  # it takes a second to make one, and sixty would like to


def bucket(endpoint: str) -> Any:
    with _bucket_lock:
        if endpoint not in _buckets:
            _buckets[endpoint] = make_bucket(endpoint)
        return _buckets[endpoint]


def make_bucket(endpoint: str) -> Any:
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name="nowhere",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        config=botocore.config.Config(
            max_pool_connections=CONNECTIONS, s3={"addressing_style": "path"}
        ),
    )


@pattern
def shared_httpx(_: Handler, out: str) -> None:
    for _again in range(2):
        insistent_httpx(_, out)


@pattern
def shared_urllib3(_: Handler, out: str) -> None:
    for _again in range(2):
        URLLIB3.request("GET", out)


@pattern
def shared_requests(_: Handler, out: str) -> None:
    for _again in range(2):
        REQUESTS.get(out)


@pattern
def shared_botocore(_: Handler, out: str) -> None:
    parts = urlsplit(out)
    for _again in range(2):
        bucket(f"http://{parts.netloc}").get_object(Bucket="b", Key=parts.path[1:])


@pattern
def botocore_upload(_: Handler, out: str) -> None:
    """Waits for 100 Continue, so the head goes out alone."""
    parts = urlsplit(out)
    bucket(f"http://{parts.netloc}").put_object(Bucket="b", Key=parts.path[1:], Body=b"abc")


@pattern
def insistent_httpx(_: Handler, out: str) -> None:
    """httpx leaves it to the app to try again on a connection that was closed."""
    for _again in range(9):
        with contextlib.suppress(httpx.TransportError):
            HTTPX.get(out)
            return


@pattern
def httpx_kinds(_: Handler, out: str) -> None:
    parts = urlsplit(out)
    httpx.get(out, trust_env=False)
    with httpx.Client(base_url=f"http://{parts.netloc}", trust_env=False) as client:
        client.post(parts.path, content=b"abc")
        client.post(parts.path, content=iter([b"a", b"b"]))
        with client.stream("GET", parts.path, headers={"host": "profile.example"}) as response:
            response.read()
        client.send(client.build_request("GET", parts.path))


@pattern
def httpx_same_request_twice(_: Handler, out: str) -> None:
    """One request object, sent first from the request's thread and then from a bare one."""
    request = httpx.Request("GET", out, headers={"x-mine": "1"})
    with httpx.Client(trust_env=False) as client:
        client.send(request)
        in_thread(lambda: client.send(request))
    assert [name for name in request.headers if name.startswith("x-s")] == []
    assert request.extensions.keys() <= {"timeout"}


@pattern
def httpx_seen_by_trace(_: Handler, out: str) -> None:
    """What trace hooks are shown is what the app wrote."""
    seen = []

    def trace(name: str, info: dict[str, Any]) -> None:
        seen.append(name)
        if "request" in info:
            assert "x-sidecar" not in str(info["request"].headers)

    httpx.Client(trust_env=False).get(out, extensions={"trace": trace})
    assert "http11.send_request_headers.started" in seen


@pattern
def httpx_redirect(_: Handler, out: str) -> None:
    httpx.get(out, follow_redirects=True, trust_env=False)


@pattern
def requests_redirect(_: Handler, out: str) -> None:
    REQUESTS.get(out)


@pattern
def urllib3_redirect(_: Handler, out: str) -> None:
    URLLIB3.request("GET", out)


@pattern
def httpx_copies_headers(handler: Handler, out: str) -> None:
    httpx.get(out, headers=dict(handler.headers.items()), trust_env=False)


@pattern
def httpx_copies_headers_in_thread(handler: Handler, out: str) -> None:
    in_thread(lambda: httpx_copies_headers(handler, out))


@pattern
def httpx_proxy(_: Handler, out: str) -> None:
    parts = urlsplit(out)
    with httpx.Client(proxy=f"http://{parts.netloc}", trust_env=False) as client:
        client.get("http://profile.example" + parts.path)


@pattern
def httpx_tunnel(_: Handler, out: str) -> None:
    parts = urlsplit(out)
    with (
        httpx.Client(proxy=f"http://{parts.netloc}", trust_env=False) as client,
        contextlib.suppress(httpx.TransportError),
    ):
        client.get("https://tunnelled.example" + parts.path)


@pattern
def httpx_unix(_: Handler, out: str) -> None:
    transport = httpx.HTTPTransport(uds=os.environ["UNIX_UPSTREAM"])
    httpx.Client(transport=transport).get("http://localhost" + urlsplit(out).path)


@pattern
def httpx_tls(handler: Handler, out: str) -> None:
    with httpx.Client(verify=False, trust_env=False) as client:
        client.get(out)
        client.get(out, headers=dict(handler.headers.items()))


@pattern
def httpx_http2(handler: Handler, out: str) -> None:
    with (
        httpx.Client(http1=False, http2=True, trust_env=False) as client,
        contextlib.suppress(httpx.TransportError),
    ):
        client.get(out, headers={"x-sidecar-context": handler.headers["x-sidecar-context"]})


@pattern
def httpx_own_transport(_: Handler, out: str) -> None:
    """Transports of the app's own: whatever they do with a request is not our business."""
    seen: list[object] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [])
        return [b""]

    mounts = {"http://mounted": httpx.MockTransport(answer)}
    httpx.Client(mounts=mounts, trust_env=False).get("http://mounted/")
    httpx.Client(transport=httpx.WSGITransport(application)).get(out)
    assert len(seen) == 2
    assert "sidecar" not in str(seen).lower()


if __name__ == "__main__":
    main(sys.argv[1:])
