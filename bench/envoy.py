"""Envoy with ``jwt_authn``: one worker, keys inline, the token not passed on.

It is asked for no more than verification: no claim headers, no tracing, and an access log only
where that is compared. What the sidecar does beyond that counts against the sidecar.
"""

import json
from pathlib import Path
from typing import Any, Final

from bench.processes import free_port
from bench.proxy import Proxy
from bench.tokens import AUDIENCE, ISSUER

_TYPES: Final = "type.googleapis.com/envoy.extensions"


def envoy(
    binary: str,
    directory: Path,
    *,
    jwks: str,
    backend_port: int,
    cached: bool,
    logs: bool = False,
) -> Proxy:
    """Write a configuration into *directory* and say how to start Envoy with it.

    *logs*: one JSON line per request, to where the sidecar's goes as well (nowhere).
    """
    name = ("envoy-cache" if cached else "envoy") + ("-log" if logs else "")
    port, admin_port = free_port(), free_port()
    config = directory / f"{name}.json"
    document = _bootstrap(jwks, port, admin_port, backend_port, cached=cached, logs=logs)
    config.write_text(json.dumps(document))
    options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
    return Proxy(
        name=name,
        argv=(binary, "--config-path", str(config), *options),
        port=port,
        ready_port=admin_port,
        ready_path="/ready",
        log=directory / f"{name}.log",
    )


def _bootstrap(
    jwks: str, port: int, admin_port: int, backend_port: int, *, cached: bool, logs: bool
) -> dict[str, Any]:
    manager: dict[str, Any] = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "inbound",
        "http_filters": [
            {"name": "jwt_authn", "typed_config": _jwt_authn(jwks, cached=cached)},
            {
                "name": "router",
                "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
            },
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "app",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
                }
            ]
        },
    }
    if logs:
        manager["access_log"] = [{"name": "file", "typed_config": _ACCESS_LOG}]
    listener = {
        "name": "inbound",
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    endpoint = {"endpoint": {"address": _address(backend_port)}}
    cluster = {
        "name": "app",
        "type": "STATIC",
        "connect_timeout": "3s",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {
        "admin": {"address": _address(admin_port)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


_ACCESS_LOG: Final = {
    "@type": f"{_TYPES}.access_loggers.file.v3.FileAccessLog",
    "path": "/dev/null",
    "log_format": {
        "json_format": {
            "time": "%START_TIME%",
            "method": "%REQ(:METHOD)%",
            "path": "%REQ(:PATH)%",
            "code": "%RESPONSE_CODE%",
            "duration": "%DURATION%",
            "upstream": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
            "flags": "%RESPONSE_FLAGS%",
            "id": "%REQ(X-REQUEST-ID)%",
        }
    },
}


def _jwt_authn(jwks: str, *, cached: bool) -> dict[str, Any]:
    provider: dict[str, Any] = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "forward": False,
        "local_jwks": {"inline_string": jwks},
    }
    if cached:
        provider["jwt_cache_config"] = {"jwt_cache_size": 10_000}
    return {
        "@type": f"{_TYPES}.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"bench": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
