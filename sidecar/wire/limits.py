"""Bounds and timeouts of one listener and of the connections behind it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Sizes in bytes, times in seconds. ``sidecar.config.model.Limits`` documents each."""

    max_head_bytes: int
    max_fields: int
    max_target_bytes: int
    max_body_bytes: int | None
    max_connections: int
    max_upstream_connections: int
    header_timeout_seconds: float
    idle_timeout_seconds: float
    body_timeout_seconds: float
    connect_timeout_seconds: float
    response_timeout_seconds: float
    upstream_idle_timeout_seconds: float
    tunnel_idle_timeout_seconds: float
    min_body_bytes_per_second: int = 0
    connect_retries: int = 0
