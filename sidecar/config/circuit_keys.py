"""The keys of a destination's circuit breaker."""

from typing import Final

from sidecar.config.kinds import INVALID, Choice, Integer, Invalid
from sidecar.config.model import CircuitBreaker
from sidecar.config.sections import Fields, Key, Section, default_of
from sidecar.config.written import duration


def _circuit(fields: Fields) -> CircuitBreaker | Invalid:
    pause = fields.values.get("pause_seconds")
    longest = fields.values.get("longest_pause_seconds")
    if pause is not None and longest is not None and pause > longest:
        key = "pause" if fields.entry("pause") is not None else "longest_pause"
        fields.error(key, "must not be longer than `longest_pause`" if key == "pause"
                     else "must not be shorter than `pause`")  # fmt: skip
    return INVALID if fields.is_broken else CircuitBreaker(**fields.values)


CIRCUIT: Final = Section(
    keys=(
        Key("failures", Integer(1, 1000), "Failures in a row after which nothing is sent.",
            default=default_of(CircuitBreaker, "failures")),
        Key("pause", duration(0.1, 600),
            "How long; then one call is let through. Doubled whenever that one fails, too.",
            "pause_seconds", default_of(CircuitBreaker, "pause_seconds")),
        Key("longest_pause", duration(0.1, 3600), "Most that it is doubled to.",
            "longest_pause_seconds", default_of(CircuitBreaker, "longest_pause_seconds")),
        Key("answers", Choice(("gateway_errors", "server_errors", "none")),
            "Answers that are failures: 502, 503 and 504, every 5xx, or none. Connections that "
            "cannot be made or are lost, what is no HTTP, and timeouts are in any case.",
            default=default_of(CircuitBreaker, "answers")),
        Key("fair_time", duration(0, 600),
            "A call that was cut by its own deadline is a failure if the destination had so long.",
            "fair_seconds", default_of(CircuitBreaker, "fair_seconds")),
    ),
    build=_circuit,
)  # fmt: skip
