"""The sidecar as it comes: default limits, default access log, one issuer, one rule."""

from pathlib import Path
from typing import Any

import yaml

from bench.processes import free_port
from bench.proxy import Proxy
from bench.tokens import AUDIENCE, ISSUER


def sidecar(
    command: str,
    directory: Path,
    *,
    jwks: str,
    backend_port: int,
    name: str = "sidecar",
    cache_entries: int | None = None,
) -> Proxy:
    """Write a configuration into *directory* and say how to start the sidecar with it.

    *cache_entries* bounds the cache of verified tokens; ``None`` leaves the default.
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
        config["token_cache"] = {"max_entries": cache_entries}
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
