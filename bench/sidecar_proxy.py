"""The sidecar as it comes: default limits, default access log, one issuer, one rule."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.processes import free_port
from bench.proxy import Proxy
from bench.tokens import AUDIENCE, ISSUER


@dataclass(frozen=True, slots=True)
class Calls:
    """Where the app calls out, and where that goes."""

    port: int
    destination_port: int
    token_endpoint: str = ""
    """Where a token for the destination is asked for; empty: the caller's own is relayed."""


def sidecar(
    command: str,
    directory: Path,
    *,
    jwks: str,
    backend_port: int,
    name: str = "sidecar",
    cache_entries: int | None = None,
    logs: bool = True,
    rules: int = 1,
    explains: bool = True,
    calls: Calls | None = None,
    tls: tuple[Path, Path] | None = None,
) -> Proxy:
    """Write a configuration into *directory* and say how to start the sidecar with it.

    *cache_entries* bounds the cache of verified tokens; ``None`` leaves the default. Of many
    *rules* the last one matches. Unless it *explains*, no decision is kept. With *calls* the app
    may keep thousands of requests open and call a destination for them. *tls* is the certificate
    and the key to speak TLS with callers.
    """
    port, admin_port = free_port(), free_port()
    keys = directory / f"{name}-jwks.json"
    keys.write_text(jwks)
    config: dict[str, Any] = {
        "version": 1,
        "issuers": {
            "bench": {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks_file": str(keys)},
        },
        "inbound": {
            "listen": f"127.0.0.1:{port}",
            "app": f"http://127.0.0.1:{backend_port}",
            "rules": [{"name": "all", "paths": ["/**"], "require": "authenticated"}],
        },
        "admin": {"listen": f"127.0.0.1:{admin_port}"},
    }
    if cache_entries is not None:
        config["token_cache"] = {"max_entries": cache_entries, "max_bytes": "512MiB"}
    if tls is not None:
        config["inbound"]["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
    if not explains:
        config["explain"] = {"refusals": 0, "permits": 0}
    if not logs:
        config["log"] = {"access": "off"}
    if rules > 1:
        config["inbound"]["rules"][:0] = [
            {"name": f"r{n}", "paths": [f"/r{n}/**"], "require": "authenticated"}
            for n in range(rules - 1)
        ]
    if calls is not None:
        _call_out(config, calls)
    file = directory / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config))
    return Proxy(
        name=name,
        argv=(command, "run", "--config", str(file)),
        port=port,
        ready_port=admin_port,
        ready_path="/readyz",
        log=directory / f"{name}.log",
    )


def _call_out(config: dict[str, Any], calls: Calls) -> None:
    config["inbound"]["limits"] = {
        "response_timeout": "1h",
        "max_connections": 20_000,
        "max_upstream_connections": 20_000,
    }
    config["attribution"] = {"max_age": "1h", "max_calls": 1_000_000, "ledger_capacity": 100_000}
    destination: dict[str, Any] = {
        "listen": f"127.0.0.1:{calls.port}",
        "upstream": f"http://127.0.0.1:{calls.destination_port}",
    }
    if calls.token_endpoint:
        destination |= {
            "token": "exchange",
            "token_request": {"client": "bench", "audience": ["backend"]},
        }
        config["clients"] = {
            "bench": {
                "token_endpoint": calls.token_endpoint,
                "client_id": "bench",
                "auth": "none",
            }
        }
    config["outbound"] = {"destinations": {"backend": destination}}
