"""The keys of ``limits``: of the inbound listener, and what destinations have besides."""

from dataclasses import replace
from typing import Final

from sidecar.config.kinds import Integer, Kind
from sidecar.config.model import DestinationLimits, Limits
from sidecar.config.sections import Key, Section, assemble, default_of
from sidecar.config.written import duration, size


def _limit(name: str, field: str, kind: Kind[object], meaning: str, text: str = "") -> Key:
    return Key(name, kind, meaning, field, default_of(Limits, field), text)


LIMITS: Final = Section(
    keys=(
        _limit("max_head", "max_head_bytes", size(1 << 10, 1 << 20),
               "Request line and header section together; over it 431."),
        _limit("max_fields", "max_fields", Integer(1, 1_000), "Header fields; over it 431."),
        _limit("max_target", "max_target_bytes", size(256, 64 << 10),
               "Request target; over it 414."),
        _limit("max_body", "max_body_bytes", size(1, 1 << 40),
               "Content of a request; over it 413.", "unlimited"),
        _limit("max_connections", "max_connections", Integer(1, 1_000_000),
               "Connections accepted at once; further ones wait in the backlog."),
        _limit("max_upstream_connections", "max_upstream_connections", Integer(1, 100_000),
               "Connections opened at once behind the listener."),
        _limit("header_timeout", "header_timeout_seconds", duration(0.1, 600),
               "First byte of a head to its end; also a TLS handshake."),
        _limit("idle_timeout", "idle_timeout_seconds", duration(0.1, 3600),
               "Kept-alive connection without a request."),
        _limit("body_timeout", "body_timeout_seconds", duration(0.1, 3600),
               "Longest silence inside a body, in either direction."),
        _limit("min_body_rate", "min_body_bytes_per_second", size(0, 1 << 20),
               "Of a request's content each second, in the long run; under it 408. `0B`: none."),
        _limit("connect_timeout", "connect_timeout_seconds", duration(0.01, 60),
               "Opening a connection behind the listener; over it 504."),
        _limit("response_timeout", "response_timeout_seconds", duration(0.1, 3600),
               "Request sent to response head received; over it 504."),
        _limit("upstream_idle_timeout", "upstream_idle_timeout_seconds", duration(0.1, 3600),
               "Pooled connection without a request; keep it under the server's own."),
        _limit("tunnel_idle_timeout", "tunnel_idle_timeout_seconds", duration(1, 86_400),
               "WebSocket or `CONNECT` tunnel in which nothing moves, in either direction."),
        _limit("total_timeout", "total_timeout_seconds", duration(0.01, 3600),
               "A request from its head to the end of its answer; over it 504, or the answer is "
               "cut. Tunnels last longer.", "none"),
        _limit("connect_retries", "connect_retries", Integer(0, 3),
               "Further tries to connect behind the listener where nothing was sent."),
    ),
    build=assemble(Limits),
)  # fmt: skip

_MORE_TRIES: Final = default_of(DestinationLimits, "connect_retries")

DESTINATION_LIMITS: Final = Section(
    keys=(
        *(replace(key, default=_MORE_TRIES) if key.name == "connect_retries" else key
          for key in LIMITS.keys),
        Key("max_concurrent", Integer(1, 100_000),
            "Calls to the destination at once; the next one is 503 at once.",
            default=default_of(DestinationLimits, "max_concurrent"), default_text="unlimited"),
    ),
    build=assemble(DestinationLimits),
)  # fmt: skip
